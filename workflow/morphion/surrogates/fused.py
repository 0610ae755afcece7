"""Blocks of convolution, ReLU and average pooling by 2 on CPU cores, in fewer passes over memory.

What torch's operators do one after the other: but a block's field is eight times as large as what
it leaves, and at 75^3 or 225^3 voxels writing and reading it takes longer than the arithmetic.

The first block sees images of two values. The nine voxels of a column normal to x are one of 512
patterns, so that a filter's response is the sum of three table entries, one to each of the columns
x - 1, x, x + 1; its field is never stored, but found again for the gradient. Of the cells that the
pool averages, those of a repeated image that see the same are worked out once.
"""

import numpy as np
import torch
from numba import njit, prange

_PARTS = 4  # of each image, worked on in parallel; fixed, so that sums do not depend on threads
# Bit k of a pattern belongs to the tap k = 3 (dz + 1) + (dy + 1).
_BITS = (np.arange(512)[None] >> np.arange(9)[:, None] & 1).astype(np.float32)
# Whether a tap lies within the image at its first voxel, between, and at its last.
_WITHIN = np.array([[0, 1, 1], [1, 1, 1], [1, 1, 0]], dtype=np.float32)


@njit(cache=True)
def _patterns(image, z, y, edge, codes):
    """Fill ``codes`` [edge + 2], of columns x = -1 ... edge; the image repeats, but not beyond."""
    n = image.shape[0]
    codes[:] = 0
    bit = 0
    for k in range(z - 1, z + 2):
        for j in range(y - 1, y + 2):
            if 0 <= k < edge and 0 <= j < edge:
                row = image[k % n, j % n]
                for x in range(n):
                    codes[x + 1] |= np.uint16(row[x]) << bit
            bit += 1
    for x in range(n, edge):
        codes[x + 1] = codes[x + 1 - n]


@njit(cache=True)
def _side(at, edge):
    return 0 if at == 0 else (2 if at == edge - 1 else 1)


@njit(cache=True, inline="always")
def _cell_rows(image, k, j, edge, codes, filled):
    """Patterns [4, edge + 2] of the four rows of voxels of a row of cells, and all in one."""
    for row in range(4):
        _patterns(image, 2 * k + row // 2, 2 * j + row % 2, edge, codes[row])
    for x in range(edge + 2):
        filled[x] = codes[0, x] | codes[1, x] | codes[2, x] | codes[3, x]


@njit(cache=True, inline="always")
def _within(cell, edge):
    """Whether no voxel of a cell lies at the image's end, along one axis."""
    return cell > 0 and 2 * cell + 1 < edge - 1


@njit(cache=True, inline="always")
def _period(voxels):
    """Cells of two voxels after which a repeated image of ``voxels`` along an edge is the same."""
    return voxels if voxels % 2 else voxels // 2


@njit(cache=True, inline="always")
def _times(cell, period, edge):
    """How many cells along an axis see what this one sees, ``period`` apart: 0 if one before it
    does."""
    if not _within(cell, edge):
        return 1
    return 0 if cell > period else 1 + ((edge - 3) // 2 - cell) // period


@njit(cache=True, inline="always")
def _sees_nothing(filled, x):
    """Whether no voxel of a cell has a filled one in its kernel: so it is for most."""
    return not (filled[2 * x] | filled[2 * x + 1] | filled[2 * x + 2] | filled[2 * x + 3])


@njit(cache=True, parallel=True)
def _forward(images, edge, tables, bases, out):
    half, filters = out.shape[1], out.shape[4]
    period = _period(images.shape[1])
    for part in prange(images.shape[0] * _PARTS):
        image, found = images[part // _PARTS], out[part // _PARTS]
        codes, filled = np.empty((4, edge + 2), np.uint16), np.empty(edge + 2, np.uint16)
        cell, value = np.empty(filters, np.float32), np.empty(filters, np.float32)
        for k in range(part % _PARTS, half, _PARTS):
            deep = _times(k, period, edge)
            for j in range(half if deep > 0 else 0):
                high = _times(j, period, edge)
                if high == 0:
                    continue
                _cell_rows(image, k, j, edge, codes, filled)
                inner = _within(k, edge) and _within(j, edge)
                for x in range(half):
                    times = deep, high, _times(x, period, edge)
                    if times[2] == 0:
                        continue
                    if inner and _within(x, edge) and _sees_nothing(filled, x):
                        for f in range(filters):
                            cell[f] = max(bases[1, 1, 1, f], np.float32(0))
                    else:
                        _mean_response(codes, (k, j, x), edge, tables, bases, value, cell)
                    _hand_out(cell, found, (k, j, x), times, period)


@njit(cache=True, inline="always")
def _mean_response(codes, at, edge, tables, bases, value, cell):
    """Fill ``cell`` with the mean activations [F] of the voxels of the cell ``at`` k, j, x."""
    k, j, x = at
    cell[:] = 0
    for row in range(4):
        base = bases[_side(2 * k + row // 2, edge), _side(2 * j + row % 2, edge)]
        for voxel in range(2 * x, 2 * x + 2):
            _response(codes[row], voxel, tables, base[_side(voxel, edge)], value)
            for f in range(len(value)):
                cell[f] += np.float32(0.125) * value[f]


@njit(cache=True, inline="always")
def _hand_out(cell, field, at, times, period):
    """Write the values of a cell to all that see the same."""
    for a in range(times[0]):
        for b in range(times[1]):
            for c in range(times[2]):
                to = field[at[0] + a * period, at[1] + b * period, at[2] + c * period]
                for f in range(len(cell)):
                    to[f] = cell[f]


@njit(cache=True, inline="always")
def _collect(cell, field, at, times, period):
    """Sum the values of all cells that see the same."""
    cell[:] = 0
    for a in range(times[0]):
        for b in range(times[1]):
            for c in range(times[2]):
                given = field[at[0] + a * period, at[1] + b * period, at[2] + c * period]
                for f in range(len(cell)):
                    cell[f] += given[f]


@njit(cache=True, inline="always")
def _response(codes, x, tables, base, value):
    """Fill ``value`` with the activations [F] of a voxel."""
    before, at, after = codes[x], codes[x + 1], codes[x + 2]
    if before | at | after:
        first, second, third = tables[0, before], tables[1, at], tables[2, after]
        for f in range(len(value)):
            value[f] = max(base[f] + first[f] + second[f] + third[f], np.float32(0))
    else:
        for f in range(len(value)):
            value[f] = max(base[f], np.float32(0))


@njit(cache=True, parallel=True)
def _backward(images, edge, tables, bases, gradient, of_tables, of_bases):
    half, filters = gradient.shape[1], gradient.shape[4]
    period = _period(images.shape[1])
    for part in prange(images.shape[0] * _PARTS):
        image, given = images[part // _PARTS], gradient[part // _PARTS]
        codes, filled = np.empty((4, edge + 2), np.uint16), np.empty(edge + 2, np.uint16)
        cell, value = np.empty(filters, np.float32), np.empty(filters, np.float32)
        mine, mine_bases = of_tables[part], of_bases[part]
        of_nothing = np.zeros(filters, np.float32)
        for k in range(part % _PARTS, half, _PARTS):
            deep = _times(k, period, edge)
            for j in range(half if deep > 0 else 0):
                high = _times(j, period, edge)
                if high == 0:
                    continue
                _cell_rows(image, k, j, edge, codes, filled)
                inner = _within(k, edge) and _within(j, edge)
                for x in range(half):
                    times = deep, high, _times(x, period, edge)
                    if times[2] == 0:
                        continue
                    _collect(cell, given, (k, j, x), times, period)
                    if inner and _within(x, edge) and _sees_nothing(filled, x):
                        for f in range(filters):
                            of_nothing[f] += cell[f]
                    else:
                        at = k, j, x
                        _share_out(codes, at, edge, tables, bases, cell, value, mine, mine_bases)
        for f in range(filters):
            if bases[1, 1, 1, f] > 0:
                mine_bases[1, 1, 1, f] += np.float32(8) * of_nothing[f]


@njit(cache=True, inline="always")
def _share_out(codes, at, edge, tables, bases, given, value, of_tables, of_bases):
    """Add the gradient of a cell's mean activations, times 8, to those of bases and tables."""
    k, j, x = at
    for row in range(4):
        sides = _side(2 * k + row // 2, edge), _side(2 * j + row % 2, edge)
        for voxel in range(2 * x, 2 * x + 2):
            side = _side(voxel, edge)
            _response(codes[row], voxel, tables, bases[sides[0], sides[1], side], value)
            _give(codes[row], voxel, given, value, of_bases[sides[0], sides[1], side], of_tables)


@njit(cache=True, inline="always")
def _give(codes, x, given, value, total, tables):
    """Add the gradient of a voxel's activations to those of its base and its table entries."""
    for f in range(len(value)):
        value[f] = given[f] if value[f] > 0 else np.float32(0)
        total[f] += value[f]
    before, at, after = codes[x], codes[x + 1], codes[x + 2]
    if before | at | after:
        first, second, third = tables[0, before], tables[1, at], tables[2, after]
        for f in range(len(value)):
            first[f] += value[f]
            second[f] += value[f]
            third[f] += value[f]


class FirstBlock(torch.autograd.Function):
    """Block on binary images; ``apply(images, weight, bias, empty, filled, copies)``.

    images uint8 [B, n, n, n] of 0 and 1, repeated ``copies`` times along each axis and padded by
    zeros; a voxel counts as ``empty`` or ``filled``. weight [F, 1, 3, 3, 3], bias [F]. Returns
    float32 [B, F, m, m, m], m = copies n // 2, channels innermost. CPU only; no gradient reaches
    the images.
    """

    @staticmethod
    def forward(ctx, images, weight, bias, empty: float, filled: float, copies: int):
        kernel = weight.detach().numpy()[:, 0].transpose(1, 2, 3, 0)
        step = np.float32(filled - empty)
        taps = kernel.reshape(9, 3, -1)
        tables = step * np.einsum("kc,kxf->xcf", _BITS, taps)
        bases = np.float32(empty) * np.einsum(
            "ai,bj,ck,ijkf->abcf", _WITHIN, _WITHIN, _WITHIN, kernel
        )
        bases = np.ascontiguousarray(bases + bias.detach().numpy(), dtype=np.float32)
        tables = np.ascontiguousarray(tables, dtype=np.float32)
        edge = images.shape[-1] * copies
        out = np.empty((len(images), *(edge // 2,) * 3, len(weight)), dtype=np.float32)
        _forward(images.numpy(), edge, tables, bases, out)
        ctx.save_for_backward(images)
        ctx.kept = tables, bases, edge, np.float32(empty), step
        return torch.from_numpy(out).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx, gradient):
        (images,) = ctx.saved_tensors
        tables, bases, edge, empty, step = ctx.kept
        parts = len(images) * _PARTS
        of_tables = np.zeros((parts, *tables.shape), dtype=np.float32)
        of_bases = np.zeros((parts, *bases.shape), dtype=np.float32)
        given = np.ascontiguousarray(gradient.permute(0, 2, 3, 4, 1).numpy())
        _backward(images.numpy(), edge, tables, bases, given, of_tables, of_bases)
        of_tables, of_bases = (
            0.125 * part.sum(0, dtype=np.float64) for part in (of_tables, of_bases)
        )
        kernel = step * np.einsum("kc,xcf->kxf", _BITS, of_tables).reshape(3, 3, 3, -1)
        kernel += empty * np.einsum("ai,bj,ck,abcf->ijkf", _WITHIN, _WITHIN, _WITHIN, of_bases)
        weight = torch.from_numpy(kernel.transpose(3, 0, 1, 2)[:, None].astype(np.float32))
        bias = torch.from_numpy(of_bases.sum((0, 1, 2)).astype(np.float32))
        return None, weight, bias, None, None, None


@njit(cache=True, inline="always")
def _pool_row(row, cells):
    """Add an eighth of a row's activations [n C] to the cells [n // 2, C] it lies in."""
    half, channels = cells.shape
    for x in range(2 * half):
        cell, at = cells[x // 2], x * channels
        for c in range(channels):
            cell[c] += np.float32(0.125) * max(row[at + c], np.float32(0))


@njit(cache=True, parallel=True)
def _pool_active(field, out):
    half = out.shape[1]
    for part in prange(out.shape[0] * half):
        b, k = part // half, part % half
        for z in range(2 * k, 2 * k + 2):
            for y in range(2 * half):
                _pool_row(field[b, z, y].ravel(), out[b, k, y // 2])


@njit(cache=True, parallel=True)
def _pool_active_bits(field, out):
    """As ``_pool_active`` for bfloat16, given by its bits: the upper half of those of a float32."""
    half = out.shape[1]
    for part in prange(out.shape[0] * half):
        b, k = part // half, part % half
        row = np.empty(field.shape[3] * field.shape[4], np.float32)
        bits = row.view(np.uint32)
        for z in range(2 * k, 2 * k + 2):
            for y in range(2 * half):
                source = field[b, z, y].ravel()
                for i in range(len(source)):
                    bits[i] = np.uint32(source[i] & 0xFFFF) << np.uint32(16)
                _pool_row(row, out[b, k, y // 2])


@njit(cache=True, parallel=True)
def _unpool_active(field, given, out):
    """Values of the cells where the field is positive, else 0; numbers or all of them bits."""
    half, channels, edge = given.shape[1], given.shape[4], field.shape[1]
    for part in prange(out.shape[0] * edge):
        b, z = part // edge, part % edge
        for y in range(edge):
            for x in range(edge):
                to = out[b, z, y, x]
                if max(z, y, x) < 2 * half:
                    source, cell = field[b, z, y, x], given[b, z // 2, y // 2, x // 2]
                    for c in range(channels):
                        to[c] = cell[c] if source[c] > 0 else field.dtype.type(0)
                else:
                    to[:] = 0


class ActivePool(torch.autograd.Function):
    """ReLU and average pooling by 2 of a field [B, C, n, n, n], channels innermost; CPU only.

    The field is float32 or bfloat16, and its gradient with it; what leaves it is float32.
    """

    @staticmethod
    def forward(ctx, field):
        ctx.dtype, rows = field.dtype, _rows(field)
        batch, edge, *_, channels = rows.shape
        out = np.zeros((batch, *(edge // 2,) * 3, channels), dtype=np.float32)
        (_pool_active_bits if rows.dtype == np.int16 else _pool_active)(rows, out)
        ctx.rows = rows
        return torch.from_numpy(out).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx, gradient):
        out = np.empty_like(ctx.rows)
        _unpool_active(ctx.rows, _rows((0.125 * gradient).to(ctx.dtype)), out)
        return torch.from_numpy(out).view(ctx.dtype).permute(0, 4, 1, 2, 3)


def _rows(field: torch.Tensor) -> np.ndarray:
    """A field with its channels last, float32, or the bits of bfloat16, int16."""
    rows = field.detach().permute(0, 2, 3, 4, 1).contiguous()
    return (rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows).numpy()
