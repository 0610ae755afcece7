"""Blocks of convolution, ReLU and average pooling by 2 on CPU cores, in fewer passes over memory.

What torch's operators do one after the other: but a block's field is eight times as large as what
it leaves, and at 75^3 or 225^3 voxels writing and reading it takes longer than the arithmetic.

The first block sees images of two values. The nine voxels of a column normal to x are one of 512
patterns, so that a filter's response is the sum of three table entries, one to each of the columns
x - 1, x, x + 1; its field is never stored, but found again for the gradient. Of the cells that the
pool averages, those of a repeated image that see the same are worked out once (``repeats``), and so
are those of later blocks.
"""

import numpy as np
import torch
from numba import njit, prange

from morphion.surrogates.repeats import Cells, Pool

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
def _sees_nothing(filled, x):
    """Whether no voxel of a cell has a filled one in its kernel: so it is for most."""
    return not (filled[2 * x] | filled[2 * x + 1] | filled[2 * x + 2] | filled[2 * x + 3])


@njit(cache=True, parallel=True)
def _forward(images, edge, tables, bases, kinds, out):
    cells, starts, places = kinds
    filters = out.shape[4]
    for part in prange(images.shape[0] * _PARTS):
        image, found = images[part // _PARTS], out[part // _PARTS]
        codes, filled = np.empty((4, edge + 2), np.uint16), np.empty(edge + 2, np.uint16)
        cell, value = np.empty(filters, np.float32), np.empty(filters, np.float32)
        for a in range(part % _PARTS, len(cells), _PARTS):
            for b in range(len(cells)):
                k, j = cells[a], cells[b]
                _cell_rows(image, k, j, edge, codes, filled)
                inner = _within(k, edge) and _within(j, edge)
                for c, x in enumerate(cells):
                    if inner and _within(x, edge) and _sees_nothing(filled, x):
                        for f in range(filters):
                            cell[f] = max(bases[1, 1, 1, f], np.float32(0))
                    else:
                        _mean_response(codes, (k, j, x), edge, tables, bases, value, cell)
                    _hand_out(cell, found, (a, b, c), starts, places)


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
def _hand_out(cell, field, kind, starts, places):
    """Write the values of a cell to the places of its kind."""
    a, b, c = kind
    for k in places[starts[a] : starts[a + 1]]:
        for j in places[starts[b] : starts[b + 1]]:
            for x in places[starts[c] : starts[c + 1]]:
                to = field[k, j, x]
                for f in range(len(cell)):
                    to[f] = cell[f]


@njit(cache=True, inline="always")
def _collect(cell, field, kind, starts, places):
    """Sum the values at the places of a kind."""
    a, b, c = kind
    cell[:] = 0
    for k in places[starts[a] : starts[a + 1]]:
        for j in places[starts[b] : starts[b + 1]]:
            for x in places[starts[c] : starts[c + 1]]:
                given = field[k, j, x]
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
def _backward(images, edge, tables, bases, kinds, gradient, of_tables, of_bases):
    cells, starts, places = kinds
    filters = gradient.shape[4]
    for part in prange(images.shape[0] * _PARTS):
        image, given = images[part // _PARTS], gradient[part // _PARTS]
        codes, filled = np.empty((4, edge + 2), np.uint16), np.empty(edge + 2, np.uint16)
        cell, value = np.empty(filters, np.float32), np.empty(filters, np.float32)
        mine, mine_bases = of_tables[part], of_bases[part]
        of_nothing = np.zeros(filters, np.float32)
        for a in range(part % _PARTS, len(cells), _PARTS):
            for b in range(len(cells)):
                k, j = cells[a], cells[b]
                _cell_rows(image, k, j, edge, codes, filled)
                inner = _within(k, edge) and _within(j, edge)
                for c, x in enumerate(cells):
                    _collect(cell, given, (a, b, c), starts, places)
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
    """Block on binary images; ``apply(images, weight, bias, empty, filled, edge, cells)``.

    images uint8 [B, n, n, n] of 0 and 1, repeated to ``edge`` voxels along each axis and padded by
    zeros; a voxel counts as ``empty`` or ``filled``. weight [F, 1, 3, 3, 3], bias [F]. Returns
    float32 [B, F, m, m, m], the row of ``cells`` along each axis, channels innermost. CPU only; no
    gradient reaches the images.
    """

    @staticmethod
    def forward(ctx, images, weight, bias, empty: float, filled: float, edge: int, cells: Cells):
        kernel = weight.detach().numpy()[:, 0].transpose(1, 2, 3, 0)
        step = np.float32(filled - empty)
        taps = kernel.reshape(9, 3, -1)
        tables = step * np.einsum("kc,kxf->xcf", _BITS, taps)
        bases = np.float32(empty) * np.einsum(
            "ai,bj,ck,ijkf->abcf", _WITHIN, _WITHIN, _WITHIN, kernel
        )
        bases = np.ascontiguousarray(bases + bias.detach().numpy(), dtype=np.float32)
        tables = np.ascontiguousarray(tables, dtype=np.float32)
        kinds = cells.cells, *cells.places
        out = np.zeros((len(images), *(cells.length,) * 3, len(weight)), dtype=np.float32)
        _forward(images.numpy(), edge, tables, bases, kinds, out)
        ctx.save_for_backward(images)
        ctx.kept = tables, bases, edge, kinds, np.float32(empty), step
        return torch.from_numpy(out).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx, gradient):
        (images,) = ctx.saved_tensors
        tables, bases, edge, kinds, empty, step = ctx.kept
        parts = len(images) * _PARTS
        of_tables = np.zeros((parts, *tables.shape), dtype=np.float32)
        of_bases = np.zeros((parts, *bases.shape), dtype=np.float32)
        given = np.ascontiguousarray(gradient.permute(0, 2, 3, 4, 1).numpy())
        _backward(images.numpy(), edge, tables, bases, kinds, given, of_tables, of_bases)
        of_tables, of_bases = (
            0.125 * part.sum(0, dtype=np.float64) for part in (of_tables, of_bases)
        )
        kernel = step * np.einsum("kc,xcf->kxf", _BITS, of_tables).reshape(3, 3, 3, -1)
        kernel += empty * np.einsum("ai,bj,ck,abcf->ijkf", _WITHIN, _WITHIN, _WITHIN, of_bases)
        weight = torch.from_numpy(kernel.transpose(3, 0, 1, 2)[:, None].astype(np.float32))
        bias = torch.from_numpy(of_bases.sum((0, 1, 2)).astype(np.float32))
        return None, weight, bias, None, None, None, None


@njit(cache=True, inline="always")
def _pool_row(sums, pairs, cells):
    """Fill the cells [P, C] with an eighth of the two of ``sums`` [n C] that each is told."""
    channels = cells.shape[1]
    for i in range(len(pairs)):
        if pairs[i, 0] >= 0:
            cell, one, two = cells[i], pairs[i, 0] * channels, pairs[i, 1] * channels
            for c in range(channels):
                cell[c] = np.float32(0.125) * (sums[one + c] + sums[two + c])


@njit(cache=True, parallel=True)
def _pool_active(field, pairs, out):
    count = len(pairs)
    for part in prange(out.shape[0] * count):
        b, k = part // count, part % count
        sums = np.empty(field.shape[3] * field.shape[4], np.float32)
        for j in range(count):
            if min(pairs[k, 0], pairs[j, 0]) < 0:
                continue
            sums[:] = 0
            for z in pairs[k]:
                for y in pairs[j]:
                    row = field[b, z, y].ravel()
                    for i in range(len(sums)):
                        sums[i] += max(row[i], np.float32(0))
            _pool_row(sums, pairs, out[b, k, j])


@njit(cache=True, parallel=True)
def _pool_active_bits(field, pairs, out):
    """As ``_pool_active`` for bfloat16, given by its bits: the upper half of those of a float32."""
    count = len(pairs)
    for part in prange(out.shape[0] * count):
        b, k = part // count, part % count
        sums = np.empty(field.shape[3] * field.shape[4], np.float32)
        row = np.empty_like(sums)
        bits = row.view(np.uint32)
        for j in range(count):
            if min(pairs[k, 0], pairs[j, 0]) < 0:
                continue
            sums[:] = 0
            for z in pairs[k]:
                for y in pairs[j]:
                    source = field[b, z, y].ravel().view(np.uint16)
                    for i in range(len(source)):
                        bits[i] = np.uint32(source[i]) << np.uint32(16)
                    for i in range(len(sums)):
                        sums[i] += max(row[i], np.float32(0))
            _pool_row(sums, pairs, out[b, k, j])


@njit(cache=True, inline="always")
def _given_to_row(given, at, starts, places, total):
    """Fill ``total`` [P, C] with an eighth of what all places of the rows ``at`` z, y are given."""
    z, y = at
    sums = total.ravel()
    sums[:] = 0
    for k in places[starts[z] : starts[z + 1]]:
        for j in places[starts[y] : starts[y + 1]]:
            one = given[k, j].ravel()
            for i in range(len(sums)):
                sums[i] += np.float32(0.125) * one[i]


@njit(cache=True, inline="always")
def _unpool_row(total, starts, places, field, out):
    """Fill ``out`` [n, C] with what the places [P, C] of each voxel are given where the field
    [n, C], by numbers or bits, is positive, else 0."""
    for x in range(len(out)):
        voxel, source = out[x], field[x]
        first, end = starts[x], starts[x + 1]
        if first == end:
            voxel[:] = 0
            continue
        cell = total[places[first]]
        for c in range(len(voxel)):
            voxel[c] = cell[c] if source[c] > 0 else np.float32(0)
        for i in range(first + 1, end):
            cell = total[places[i]]
            for c in range(len(voxel)):
                voxel[c] += cell[c] if source[c] > 0 else np.float32(0)


@njit(cache=True, parallel=True)
def _unpool_active(field, given, starts, places, out):
    edge = field.shape[1]
    for part in prange(out.shape[0] * edge):
        b, z = part // edge, part % edge
        total = np.empty(given.shape[3:], np.float32)
        for y in range(edge):
            _given_to_row(given[b], (z, y), starts, places, total)
            _unpool_row(total, starts, places, field[b, z, y], out[b, z, y])


@njit(cache=True, parallel=True)
def _unpool_active_bits(field, given, starts, places, out):
    """As ``_unpool_active`` for bfloat16, by bits: rounded to the nearest, of two to the even."""
    edge, channels = field.shape[1], field.shape[4]
    for part in prange(out.shape[0] * edge):
        b, z = part // edge, part % edge
        total = np.empty(given.shape[3:], np.float32)
        row = np.empty((edge, channels), np.float32)
        bits = row.view(np.uint32).ravel()
        for y in range(edge):
            _given_to_row(given[b], (z, y), starts, places, total)
            _unpool_row(total, starts, places, field[b, z, y], row)
            to, values = out[b, z, y].ravel(), row.ravel()
            for i in range(len(to)):
                odd = bits[i] >> np.uint32(16) & np.uint32(1)
                rounded = (bits[i] + np.uint32(0x7FFF) + odd) >> np.uint32(16)
                to[i] = np.int16(rounded if values[i] == values[i] else np.uint32(0x7FC0))


class ActivePool(torch.autograd.Function):
    """ReLU and average pooling of a field [B, C, n, n, n], channels innermost; CPU only.

    ``apply(field, pool)``: ``pool`` says which voxels each place averages along an axis. The field
    is float32 or bfloat16, and its gradient with it; what leaves it is float32 [B, C, P, P, P].
    """

    @staticmethod
    def forward(ctx, field, pool: Pool):
        if field.shape[-1] != pool.length:  # compiled loops check no index
            raise ValueError(f"a field of {field.shape[-1]} voxels, the pool has {pool.length}")
        ctx.dtype, ctx.pool, rows = field.dtype, pool, _rows(field)
        out = np.zeros((len(rows), *(len(pool.pairs),) * 3, rows.shape[4]), dtype=np.float32)
        (_pool_active_bits if rows.dtype == np.int16 else _pool_active)(rows, pool.pairs, out)
        ctx.rows = rows
        return torch.from_numpy(out).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx, gradient):
        out, given = np.empty_like(ctx.rows), _rows(gradient)
        unpool = _unpool_active_bits if ctx.rows.dtype == np.int16 else _unpool_active
        unpool(ctx.rows, given, *ctx.pool.places, out)
        return torch.from_numpy(out).view(ctx.dtype).permute(0, 4, 1, 2, 3), None


def _rows(field: torch.Tensor) -> np.ndarray:
    """A field with its channels last, float32, or the bits of bfloat16, int16."""
    rows = field.detach().permute(0, 2, 3, 4, 1).contiguous()
    return (rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows).numpy()
