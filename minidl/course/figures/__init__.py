"""The course's figures, drawn from arrays; see :mod:`minidl.course.figures.common`."""
