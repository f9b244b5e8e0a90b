"""Every error a user can meet, one small tree.

Catch :class:`MemaoptError` for all of them. Each message is one line that says what is wrong, where, and
what to do about it; the command line prints it as it is and exits with :attr:`MemaoptError.exit_code`.
"""


class MemaoptError(Exception):
    """The root: something the user can put right."""

    exit_code = 2


class InputError(MemaoptError, ValueError):
    """A problem, an option, an argument or a file that cannot be used as it stands."""


class InfeasibleError(MemaoptError):
    """The problem is well formed, but no schedule (or memory plan) fits the resources given."""


class DisagreementError(MemaoptError):
    """The models differ, so there is no certificate; the message shows each answer."""


class ContradictionError(DisagreementError):
    """The solver contradicts itself on one model, so its word is no proof and there is no certificate."""


class UnfinishedError(MemaoptError):
    """A model did not come to an end within its limit, so there is no certificate; nothing contradicts anything."""


class FalseClaimError(MemaoptError):
    """A certificate claims something that does not hold; the message names the first such claim."""

    exit_code = 1


class WrongLibraryError(MemaoptError):
    """An emitted library does not compute what the reference does; nothing of it was written."""

    exit_code = 1


class MissingToolError(MemaoptError):
    """An optional package or program is needed; the message has the command that installs it."""


class BuildError(MemaoptError):
    """The C compiler rejected the emitted code or could not be run."""


class FaultError(MemaoptError):
    """The program on the virtual board did what the chip would fault on, at ``address`` in ``function``."""

    def __init__(self, message: str, address: int = 0, function: str = "") -> None:
        super().__init__(message)
        self.address = address
        self.function = function


class UnsupportedModelError(InputError):
    """A network holds an operator, type or option that memaopt does not compile.

    ``subject`` is the operator, or the type and where it stands, if that is what is not supported.
    """

    def __init__(self, message: str, subject: str = "") -> None:
        super().__init__(message)
        self.subject = subject
