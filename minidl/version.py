"""The version of minidl."""

__version__ = "0.1.0"
cuda = None  # CuPy's version decides: see minidl.cuda.is_available()
