"""Samples of one fit, and the model's functions, for compiled loops.

``D`` (n_inputs + 2, most * PIECE)
    Inputs, data and weights of one fit, its valid samples only; the rest of the last piece has weight 0.
``J`` (2 * most, 1 + k, PIECE)
    Values of the model in row 0, its Jacobian in the others.
``P`` (2, K)
    All parameters, where the fit is and where it tries to go.

Shapes: ``K`` parameters, ``k`` free ones, ``most`` pieces of samples.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from xr_modelfit.compiled.source import LANES, PIECE

__all__ = ["HERE", "LANES", "PIECE", "THERE", "gather", "helper", "in_any_order", "model", "size2", "tie"]

HERE, THERE = 0, 1  # rows of P

helper = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
in_any_order = njit(
    nogil=True, error_model="numpy", fastmath={"reassoc", "contract"}, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


def _array(context, builder, signature, arguments, at):
    return context.make_array(signature.args[at])(context, builder, arguments[at])


def _row(builder, array, row):
    """Pointer to the start of a row."""
    return builder.gep(array.data, [builder.mul(row, builder.extract_value(array.shape, 1))])


def _call(builder, address, arguments):
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
    builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)


@intrinsic
def model(context, address, length, D, P, row, out):
    """Call ``sums`` or ``columns`` of the model, for so many lanes or pieces of D and a row of P."""

    def codegen(context, builder, signature, arguments):
        D, P, out = (_array(context, builder, signature, arguments, at) for at in (2, 3, 5))
        stride = builder.extract_value(D.shape, 1)
        _call(builder, arguments[0], [arguments[1], stride, D.data, _row(builder, P, arguments[4]), out.data])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, D, P, types.int64, out), codegen


@intrinsic
def tie(context, address, P, row):
    """Call the ties: tied parameters into a row of P."""

    def codegen(context, builder, signature, arguments):
        P = _array(context, builder, signature, arguments, 1)
        _call(builder, arguments[0], [_row(builder, P, arguments[2])])
        return context.get_dummy_value()

    return types.void(types.int64, P, types.int64), codegen


@helper
def gather(i, y, x, weights, valid, D):
    """Put the valid samples of fit ``i`` into D; returns how many."""
    n_inputs, n = x.shape[0], 0
    own_x = i if x.shape[1] > 1 else 0
    own_w = i if weights.shape[0] > 1 else 0
    if valid.shape[0] == 0:
        n = y.shape[1]
        for m in range(n_inputs):
            for s in range(n):
                D[m, s] = x[m, own_x, s]
        for s in range(n):
            D[n_inputs, s] = y[i, s]
        for s in range(n):
            D[n_inputs + 1, s] = weights[own_w, s] if weights.shape[0] > 0 else 1.0
    else:
        for s in range(y.shape[1]):
            if valid[i, s]:
                for m in range(n_inputs):
                    D[m, n] = x[m, own_x, s]
                D[n_inputs, n] = y[i, s]
                D[n_inputs + 1, n] = weights[own_w, s] if weights.shape[0] > 0 else 1.0
                n += 1
    for s in range(n, (n + PIECE - 1) // PIECE * PIECE):  # a valid sample again, without weight
        for m in range(n_inputs + 1):
            D[m, s] = D[m, 0]
        D[n_inputs + 1, s] = 0.0
    return n


@in_any_order
def size2(pieces, D):
    y, w = D.shape[0] - 2, D.shape[0] - 1
    total = 0.0
    for s in range(pieces * PIECE):
        total += (D[y, s] * D[w, s]) * (D[y, s] * D[w, s])
    return total
