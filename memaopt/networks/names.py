"""Names for what is emitted: C identifiers and names of files that collide with nothing where they are used."""

import hashlib
import re
from pathlib import Path

_LONGEST = 48  # characters of a name, to which layers add theirs
_DIGEST = 8  # characters that tell two long names apart

_KEYWORDS = (
    # C23
    "alignas alignof auto bool break case char const constexpr continue default do double else enum extern false float "
    "for goto if inline int long nullptr register restrict return short signed sizeof static static_assert struct "
    "switch thread_local true typedef typeof typeof_unqual union unsigned void volatile while asm fortran "
    # C++
    "and and_eq bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl concept "
    "const_cast consteval constinit decltype delete dynamic_cast explicit export friend mutable namespace new "
    "noexcept not not_eq "
    "operator or or_eq private protected public reinterpret_cast requires static_cast template this throw try typeid "
    "typename using virtual wchar_t xor xor_eq import module override final"
)
#: Headers: a library's own would be found in place of them.
_HEADERS = (
    "assert complex ctype errno fenv inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbit "
    "stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype "
    "alloca dirent endian fcntl malloc memory poll sched strings unistd "
    "arduino arm_acle cmsis_compiler cmsis_gcc core_cm4 device freertos hal kernel zephyr"
)
_FUNCTIONS = (
    "abort abs acos acosh asin asinh atan atan2 atanh atexit atof atoi atol atoll bsearch calloc cbrt ceil clock "
    "copysign cos cosh ctime difftime div erf erfc exit exp exp2 expm1 fabs fclose fdim feof ferror fflush fgetc fgets "
    "floor fma fmax fmin fmod fopen fprintf fputc fputs fread free frexp fscanf fseek ftell fwrite getc getchar getenv "
    "gets gmtime hypot ilogb isalnum isalpha iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit "
    "labs ldexp ldiv lgamma llabs lldiv localtime log log10 log1p log2 logb longjmp lrint lround memchr memcmp memcpy "
    "memmove memset mktime modf nan nearbyint nextafter perror pow printf putc putchar puts qsort raise rand realloc "
    "remainder remove rename rewind rint round scanf setbuf setvbuf sin sinh snprintf sprintf sqrt srand sscanf "
    "strcat strchr strcmp strcoll strcpy strcspn strerror strftime strlen strncat strncmp strncpy strpbrk strrchr "
    "strspn strstr strtod strtof strtok strtol strtoll strtoul strtoull strxfrm system tan tanh tgamma timespec_get "
    "tmpfile tmpnam tolower toupper trunc ungetc vfprintf vprintf vsnprintf vsprintf"
)
#: Programs and targets of its build files, and files that some systems cannot have.
_FILES = (
    "main memaopt test "
    "all check clean cores edit_cache help install package rebuild_cache "
    "aux con nul prn com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9"
)
_TAKEN = frozenset(" ".join((_KEYWORDS, _HEADERS, _FUNCTIONS, _FILES)).split())


def identifier_of(name: str) -> str:
    """A C identifier made of a file's or network's name: lower case, at most 48 characters, nobody else's.

    The identifier of an identifier is itself.
    """
    plain = re.sub(r"\W+", "_", Path(name).name.removesuffix(".tflite").removesuffix(".onnx"), flags=re.ASCII).lower()
    text = re.sub("_+", "_", plain).strip("_")
    if not text or text[0].isdigit() or text in _TAKEN:
        text = f"net_{text}".rstrip("_")
    if len(text) > _LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
        text = f"{text[: _LONGEST - _DIGEST - 1].rstrip('_')}_{digest}"
    return text
