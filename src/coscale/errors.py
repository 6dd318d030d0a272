"""What can go wrong through no fault of the code. Each message says what was wrong and what to do."""


class CoscaleError(Exception):
    """The base of all errors that a user can cause; the command prints it as one line and exits 1."""


class ImageError(CoscaleError):
    """A file, an array or a tensor that cannot be read as an image, or one that is too large."""


class TooManyPixelsError(ImageError):
    """An image that declares more pixels than are allowed."""


class LRFileError(CoscaleError):
    """An LR file whose note about its origin is missing, damaged or names what is not here."""


class RescalerError(CoscaleError):
    """An unknown rescaler, or a checkpoint that does not fit the one asked for."""


class NetworkError(RescalerError):
    """A network of the user's that fails on an image, or gives none."""


class SettingsError(CoscaleError, ValueError):
    """A setting outside of what makes sense."""


class MemoryNeededError(CoscaleError):
    """A photo that takes more memory than there is."""


class OutputError(CoscaleError):
    """A result that cannot be written."""


class ServeError(CoscaleError):
    """A page that cannot be served."""


class DataError(CoscaleError):
    """A folder of images that does not hold what was asked of it."""


class TransferError(CoscaleError):
    """A photo that could not be fetched, or a result that could not be put in its place; it may work later."""


class EngineError(CoscaleError):
    """Workers that cannot be had, or do not stay."""


class ExportError(CoscaleError):
    """A network that cannot be exported, or that gives other images where it was exported to."""


class TrainingError(CoscaleError):
    """A training run that does not settle."""


class CoscaleWarning(UserWarning):
    """Something that a user should know and that stops nothing; the command prints it as one line."""


_NO_MEMORY = (  # what allocators say, in small letters
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "defaultcpuallocator",
    "alloc_failed",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is one of the several kinds in which memory runs out.

    An illegal memory access is none: no smaller tile helps a GPU whose context is lost.
    """
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    if not isinstance(error, RuntimeError) or "illegal memory access" in said:
        return False
    return type(error).__name__ == "OutOfMemoryError" or any(phrase in said for phrase in _NO_MEMORY)


def reason(error: BaseException) -> str:
    """Give what an error says, on one line of at most 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = " ".join((lines[-1] if "Traceback" in str(error) else " ".join(lines)).split())
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    return text if len(text) <= 200 else f"{text[:200]}..."
