"""The optional C speed-up; everything else stands in pyproject.toml.

A missing compiler, or one that fails, gives a working pure-Python install.
``TRIO_WS_BUILD_PURE=1`` leaves the C part out on purpose.
"""

import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class OptionalBuild(build_ext):
    """Builds the extension if that works."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            self._explain(error)

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            self._explain(error)

    def copy_extensions_to_source(self) -> None:
        for extension in list(self.extensions):
            if not os.path.exists(self.get_ext_fullpath(extension.name)) and not os.path.exists(
                os.path.join(self.build_lib, self.get_ext_filename(extension.name))
            ):
                self.extensions.remove(extension)
        super().copy_extensions_to_source()

    @staticmethod
    def _explain(error: Exception) -> None:
        print(f"trio-ws: building without the C speed-up: {error}", file=sys.stderr)


pure = bool(os.environ.get("TRIO_WS_BUILD_PURE"))

setup(
    ext_modules=[]
    if pure
    else [
        Extension(
            "trio_ws.protocol._speedups",
            ["trio_ws/protocol/_speedups.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            py_limited_api=True,
            optional=True,
        )
    ],
    cmdclass={"build_ext": OptionalBuild},
    options={} if pure else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
