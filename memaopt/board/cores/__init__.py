"""The timing rules of cores, one module each, named as the field ``timing`` of a core is."""
