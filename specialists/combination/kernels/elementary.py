"""How are exp and log taken of many numbers at once, in a loop that the compiler vectorises?

The C library takes them one at a time. Here they are polynomials and quotients of them in plain
arithmetic, with the power of two written into the number's bits, so that LLVM takes 4 or 8 at a
time. Errors stay below 2 units in the last place.

Source: Moshier, Cephes Mathematical Library (expf.c, logf.c, exp.c, log.c).
"""

# pyright: reportCallIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.typing import signature
from numba.extending import intrinsic, overload

_F32, _F64 = np.float32, np.float64
_INT = {types.float32: ir.IntType(32), types.float64: ir.IntType(64)}
_DIGITS = {types.float32: 23, types.float64: 52}
_BIAS = {types.float32: 127, types.float64: 1023}
_ROOT_HALF = {types.float32: 0x3F3504F3, types.float64: 0x3FE6A09E667F3BCD}
_ROUNDING = {types.float32: 1.5 * 2**23, types.float64: 1.5 * 2**52}
_ROUNDING_BITS = {types.float32: 0x4B400000, types.float64: 0x4338000000000000}
_ROUND32, _ROUND64 = _F32(1.5 * 2**23), _F64(1.5 * 2**52)
_LOG2E32, _LOG2E64 = _F32(1 / math.log(2)), _F64(1 / math.log(2))
_HIGH_EXP32, _LOW_EXP32 = _F32(0.693359375), _F32(-2.12194440e-4)
_HIGH_EXP64, _LOW_EXP64 = _F64(6.93145751953125e-1), _F64(1.42860682030941723212e-6)
_LEAST32, _LEAST64 = _F32(-87.3), _F64(-708.0)
_MOST32, _MOST64 = _F32(1.0), _F64(1.0)
_NAN32, _NAN64 = _F32(np.nan), _F64(np.nan)
_ZERO32, _ONE32, _HALF32 = _F32(0), _F32(1), _F32(0.5)
_E32 = tuple(
    _F32(x)
    for x in (
        *(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3),
        *(4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    )
)
_L32 = tuple(
    _F32(x)
    for x in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)


@intrinsic
def _power_of_two(typing_context, rounded):
    """``2^n`` from n plus the constant whose last digit is 1."""

    def generate(context, builder, sig, arguments):
        kind = sig.args[0]
        whole = _INT[kind]
        bits = builder.shl(builder.bitcast(arguments[0], whole), whole(_DIGITS[kind]))
        bits = builder.add(bits, whole(_BIAS[kind] << _DIGITS[kind]))
        return builder.bitcast(bits, arguments[0].type)

    return signature(rounded, rounded), generate


@intrinsic
def _exponent(typing_context, number):
    """The e of ``number = m 2^e`` with m from sqrt(1/2) to sqrt(2), as a float."""

    def generate(context, builder, sig, arguments):
        kind, as_float = sig.args[0], arguments[0].type
        bits = _exponent_bits(builder, kind, arguments[0])
        bits = builder.add(bits, _INT[kind](_ROUNDING_BITS[kind]))
        return builder.fsub(builder.bitcast(bits, as_float), as_float(_ROUNDING[kind]))

    return signature(number, number), generate


@intrinsic
def _mantissa(typing_context, number):
    """The m of ``number = m 2^e``."""

    def generate(context, builder, sig, arguments):
        kind = sig.args[0]
        whole = _INT[kind]
        exponent = builder.shl(_exponent_bits(builder, kind, arguments[0]), whole(_DIGITS[kind]))
        bits = builder.sub(builder.bitcast(arguments[0], whole), exponent)
        return builder.bitcast(bits, arguments[0].type)

    return signature(number, number), generate


def _exponent_bits(builder, kind, number):
    whole = _INT[kind]
    shifted = builder.sub(builder.bitcast(number, whole), whole(_ROOT_HALF[kind]))
    return builder.ashr(shifted, whole(_DIGITS[kind]))


@njit(fastmath={"contract"}, error_model="numpy")
def _exp32(x):
    rounded = x * _LOG2E32 + _ROUND32
    n = rounded - _ROUND32
    r = x - n * _HIGH_EXP32 - n * _LOW_EXP32
    y = ((((_E32[0] * r + _E32[1]) * r + _E32[2]) * r + _E32[3]) * r + _E32[4]) * r + _E32[5]
    y = (y * (r * r) + r + _ONE32) * _power_of_two(rounded)
    y = y if x <= _MOST32 else _NAN32
    return _ZERO32 if x < _LEAST32 else y


@njit(fastmath={"contract"}, error_model="numpy")
def _exp64(x):
    rounded = x * _LOG2E64 + _ROUND64
    n = rounded - _ROUND64
    r = x - n * _HIGH_EXP64 - n * _LOW_EXP64
    z = r * r
    p = r * ((1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 1.0)
    q = (3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z
    q = (q + 2.27265548208155028766e-1) * z + 2.0
    y = (1.0 + 2.0 * (p / (q - p))) * _power_of_two(rounded)
    y = y if x <= _MOST64 else _NAN64
    return 0.0 if x < _LEAST64 else y


@njit(fastmath={"contract"}, error_model="numpy")
def _log32(x):
    e, r = _exponent(x), _mantissa(x) - _ONE32
    z = r * r
    y = ((_L32[0] * r + _L32[1]) * r + _L32[2]) * r + _L32[3]
    y = ((((y * r + _L32[4]) * r + _L32[5]) * r + _L32[6]) * r + _L32[7]) * r + _L32[8]
    y = y * r * z + e * _LOW_EXP32 - _HALF32 * z
    return r + y + e * _HIGH_EXP32


@njit(fastmath={"contract"}, error_model="numpy")
def _log64(x):
    e, r = _exponent(x), _mantissa(x) - 1.0
    z = r * r
    p = (1.01875663804580931796e-4 * r + 4.97494994976747001425e-1) * r + 4.70579119878881725854
    p = ((p * r + 1.44989225341610930846e1) * r + 1.79368678507819816313e1) * r
    p = p + 7.70838733755885391666
    q = ((r + 1.12873587189167450590e1) * r + 4.52279145837532221105e1) * r
    q = ((q + 8.29875266912776603211e1) * r + 7.11544750618563894466e1) * r
    q = q + 2.31251620126765340583e1
    y = r * (z * p / q) - e * 2.121944400546905827679e-4 - 0.5 * z
    return r + y + e * 0.693359375


def exp_of(x):
    """``exp x``, exactly 0 below about ``log`` of the smallest number, NaN above 1 and of NaN."""
    raise NotImplementedError("of compiled code")


def log_of(x):
    """``log x`` of a normal positive number."""
    raise NotImplementedError("of compiled code")


@overload(exp_of)
def _exp_by_dtype(x):
    if x == types.float32:
        return lambda x: _exp32(x)
    return lambda x: _exp64(x)


@overload(log_of)
def _log_by_dtype(x):
    if x == types.float32:
        return lambda x: _log32(x)
    return lambda x: _log64(x)
