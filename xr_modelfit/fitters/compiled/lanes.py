"""Samples of the fits that are side by side, and the model's functions, for compiled loops.

The last axis of every array has the `LANES` fits.

``D`` (n_inputs + 2, n, LANES)
    Inputs, data and weights, the valid samples of each fit only; what follows them has weight 0. Where samples are made
    of values at nodes, there are more rows; where samples share nodes, all samples are there, with weight 0 where they
    are not valid.
``P`` (3, K, LANES)
    All parameters, where the fits are, where they try to go, and a place beside.
``J`` (2, PIECE, 1 + k, LANES)
    Values of the model and its Jacobian, at two places.

Shapes: ``K`` parameters, ``k`` free ones, ``n`` samples.
"""

from collections.abc import Iterator

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from xr_modelfit.tracing.source import LANES, PIECE

__all__ = [
    "BESIDE", "HERE", "LANES", "PIECE", "THERE", "fill", "gather", "helper", "jacobian", "own_row", "rows", "sums_of",
    "tie",
]  # fmt: skip


def rows(n: int) -> Iterator[np.int64]:
    """Numbers of rows, to be named: for each number of Python's that it is given, a function is compiled anew."""
    return map(np.int64, range(n))


HERE, THERE, BESIDE = rows(3)  # of P

helper = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
_in_any_order = njit(
    nogil=True, error_model="numpy", fastmath={"reassoc", "contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


def _array(context, builder, signature, arguments, at):
    return context.make_array(signature.args[at])(context, builder, arguments[at])


def _from(builder, array, axis, index):
    """Pointer to what an index of an axis begins with, at 0 of the axes before it."""
    lanes = index
    for after in range(axis + 1, array.shape.type.count):
        lanes = builder.mul(lanes, builder.extract_value(array.shape, after))
    return builder.gep(array.data, [lanes])


def _call(builder, address, arguments):
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
    builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)


@intrinsic
def sums_of(context, address, n, D, P, row, S):
    """Call ``sums`` of the model, for so many samples of D and a row of P."""

    def codegen(context, builder, signature, arguments):
        D, P, S = (_array(context, builder, signature, arguments, at) for at in (2, 3, 5))
        stride, parameters = builder.extract_value(D.shape, 1), _from(builder, P, 0, arguments[4])
        _call(builder, arguments[0], [arguments[1], stride, D.data, parameters, S.data])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, D, P, types.int64, S), codegen


@intrinsic
def jacobian(context, address, start, n, D, P, row, J, half):
    """Call ``columns`` of the model, for so many samples of D from ``start`` on, a row of P and a half of J."""

    def codegen(context, builder, signature, arguments):
        D, P, J = (_array(context, builder, signature, arguments, at) for at in (3, 4, 6))
        start, n, half, stride = arguments[1], arguments[2], arguments[7], builder.extract_value(D.shape, 1)
        parameters, out = _from(builder, P, 0, arguments[5]), _from(builder, J, 0, half)
        _call(builder, arguments[0], [start, n, stride, half, D.data, parameters, out])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, D, P, types.int64, J, types.int64), codegen


@intrinsic
def tie(context, address, P, row):
    """Call the ties: tied parameters into a row of P."""

    def codegen(context, builder, signature, arguments):
        P = _array(context, builder, signature, arguments, 1)
        _call(builder, arguments[0], [_from(builder, P, 0, arguments[2])])
        return context.get_dummy_value()

    return types.void(types.int64, P, types.int64), codegen


@helper
def fill(x, weights, valid, response, D):
    """Put into D what all fits share; whether anything but the data is left to each."""
    n_inputs, n = x.shape[0], weights.shape[1]
    for s in range(x.shape[2]):
        for lane in range(LANES):
            for m in range(n_inputs):
                D[m, s, lane] = x[m, 0, s]
    for s in range(n):
        for lane in range(LANES):
            D[n_inputs, s, lane] = 0.0
            D[n_inputs + 1, s, lane] = weights[0, s] if weights.shape[0] > 0 else 1.0
    for lane in range(LANES):
        _fill_response(response, 0, lane, n_inputs + 2, D)
    return valid.shape[0] > 0 or x.shape[1] > 1 or weights.shape[0] > 1 or response.shape[0] > 1


@helper
def _fill_response(response, i, lane, first, D):
    """Put the weights of nodes of fit ``i`` into rows of D, from ``first`` on."""
    for j in range(response.shape[1]):
        D[first + j // D.shape[1], j % D.shape[1], lane] = response[i, j]


@_in_any_order
def _size2(y, w):
    total = 0.0
    for s in range(y.size):
        total += (y[s] * w[s]) * (y[s] * w[s])
    return total


@_in_any_order
def _size2_of_all_alike(y):
    total = 0.0
    for s in range(y.size):
        total += y[s] * y[s]
    return total


@helper
def own_row(i, table):
    """The row of fit ``i`` in a table that may have one row for all fits."""
    return i if table.shape[0] > 1 else 0


@helper
def gather(i, lane, y, x, weights, valid, response, own, D):
    """Put the samples of fit ``i`` into a lane of D.

    Returns how many samples of D to look at, how many of them are valid, and the squared length of the weighted data.
    """
    n_inputs, n = x.shape[0], y.shape[1]
    own_w = own_row(i, weights)
    if not own:
        for s in range(n):
            D[n_inputs, s, lane] = y[i, s]
        return n, n, (_size2(y[i], weights[own_w]) if weights.shape[0] > 0 else _size2_of_all_alike(y[i]))
    own_x = i if x.shape[1] > 1 else 0
    total, n = 0.0, 0
    if response.shape[1] > 0:
        _fill_response(response, own_row(i, response), lane, n_inputs + 2, D)
    if response.shape[1] > 0 and valid.shape[0] == 0:
        for s in range(x.shape[2]):
            for m in range(n_inputs):
                D[m, s, lane] = x[m, own_x, s]
        for s in range(y.shape[1]):
            w = weights[own_w, s] if weights.shape[0] > 0 else 1.0
            D[n_inputs, s, lane], D[n_inputs + 1, s, lane] = y[i, s], w
            total += (y[i, s] * w) * (y[i, s] * w)
            n += w != 0.0
        return y.shape[1], n, total
    span = x.shape[2] // y.shape[1]  # nodes of a sample, which no other has
    for s in range(y.shape[1]):
        if valid.shape[0] == 0 or valid[i, s]:
            w = weights[own_w, s] if weights.shape[0] > 0 else 1.0
            for m in range(n_inputs):
                for q in range(span):
                    D[m, n * span + q, lane] = x[m, own_x, s * span + q]
            D[n_inputs, n, lane], D[n_inputs + 1, n, lane] = y[i, s], w
            total += (y[i, s] * w) * (y[i, s] * w)
            n += 1
    for s in range(n, y.shape[1]):  # a valid sample again, without weight
        for m in range(n_inputs):
            for q in range(span):
                D[m, s * span + q, lane] = D[m, q, lane]
        D[n_inputs, s, lane] = D[n_inputs, 0, lane]
        D[n_inputs + 1, s, lane] = 0.0
    return n, n, total
