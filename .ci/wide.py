"""Prints the features of AVX-512 that NumPy uses and this machine has."""

from numpy._core._multiarray_umath import __cpu_dispatch__ as used
from numpy._core._multiarray_umath import __cpu_features__ as here

print(*(name for name in used if here.get(name) and (name == "X86_V4" or name.startswith("AVX512"))))
