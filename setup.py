"""The optional C speed-up; everything else stands in pyproject.toml.

A missing compiler, or one that fails, gives a working pure-Python install.
``TRIO_WS_BUILD_PURE=1`` leaves the C part out on purpose.
"""

import os
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = "trio_ws/protocol/_speedups.c"


class OptionalBuild(build_ext):
    """Builds the extension if that works."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            _explain(str(error))

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception:
            _explain("the C compiler failed, or there is none")

    def copy_extensions_to_source(self) -> None:
        # An editable install would stumble over what was not built.
        self.extensions[:] = [ext for ext in self.extensions if self._was_built(ext)]
        super().copy_extensions_to_source()

    def _was_built(self, ext: Extension) -> bool:
        in_build_folder = os.path.join(self.build_lib, self.get_ext_filename(ext.name))
        return any(map(os.path.exists, (self.get_ext_fullpath(ext.name), in_build_folder)))


def _explain(reason: str) -> None:
    print(f"trio-ws: installing without the C speed-up: {reason}", file=sys.stderr)


def _wanted() -> bool:
    if os.environ.get("TRIO_WS_BUILD_PURE") == "1":
        return False
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        _explain("a free-threaded Python has no limited API")
        return False
    if sys.implementation.name != "cpython":
        _explain("it is written for CPython")
        return False
    if not os.path.exists(SOURCE):
        _explain(f"{SOURCE} is not there")
        return False
    return True


if _wanted():
    setup(
        ext_modules=[
            Extension(
                "trio_ws.protocol._speedups",
                [SOURCE],
                define_macros=[("Py_LIMITED_API", "0x030B0000")],
                # Debug information would name the folder that it was built in.
                extra_compile_args=[] if sys.platform == "win32" else ["-O3", "-g0"],
                py_limited_api=True,
                optional=True,
            )
        ],
        cmdclass={"build_ext": OptionalBuild},
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
else:
    setup()
