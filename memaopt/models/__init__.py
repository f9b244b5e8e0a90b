"""The optimisation models. All of them price a schedule with :mod:`memaopt.models.prices`."""
