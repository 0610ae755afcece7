"""Predictions of the resistor network on CPU cores, structure by structure.

What torch's operators do one after the other for a batch: but there are a hundred of them, and on
the few hundred pairs of a structure starting one takes as long as its work. Here a thread takes one
structure after the other, and what a layer leaves stays in a core's cache for the next one. Of the
Gaussians around a distance those beyond ``_TAIL`` widths are as good as 0 and left out; wedges are
met on the way instead of stored. Forward only: trainings take their gradients from torch.
"""

import numpy as np
from numba import njit

_TAIL = 6  # exp(-6.5^2 / 2) = 7e-10
_BY_E = np.exp(-1.0)
_LOOPS = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


@njit(nogil=True, **_LOOPS)
def sums(pairs, particles, weights, constants):
    """As ``resistor_weights.Sums`` of one structure of N ``particles``.

    ``pairs`` are first and second particle int64, separation float32 [E, 3] and facet float32 [E].
    Few levels of functions, each of which would compile all below it once more.
    """
    first, second, separation, facet, _ = pairs
    channels = weights.to_particle.shape[1]
    distance, direction = _directions(separation)
    features = _features(distance, direction, weights.centres)
    around = np.zeros((len(weights.out) + 1, particles, channels), np.float32)
    message = np.zeros((len(first), channels), np.float32)
    _multiply(features, weights.to_particle, message)
    _gather_ends(message, facet, first, second, around[0])
    logarithm, solvent = _far_logarithms(pairs, distance, features, around[0], weights, constants)
    near, ends, switch = _near_pairs(pairs, distance, direction, particles, constants.near)
    known = np.empty((len(near), features.shape[1]), np.float32)
    for m in range(len(near)):
        for i in range(features.shape[1]):
            known[m, i] = features[near[m], i]
    for k in range(len(weights.out)):
        known = _round(ends, known, switch, around[k], weights, k)
        message = np.zeros((len(near), channels), np.float32)
        _multiply(known, weights.from_pair[k], message)
        _gather_ends(message, switch, ends[0], ends[1], around[k + 1])
    to_conductance = weights.conductance
    for m in range(len(near)):
        correction = constants.conductance_bias + _project(known, m, to_conductance)
        logarithm[near[m]] += switch[m] * correction
    conductance = np.empty(len(first))
    for p in range(len(first)):
        conductance[p] = facet[p] * np.exp(logarithm[p])
    power, share = _dissipation(pairs, distance, conductance, solvent, particles, constants)
    of_pairs = np.zeros(len(weights.pair))
    for p in range(len(first)):
        for i in range(len(of_pairs)):
            of_pairs[i] += share[p] * features[p, i]
    occupancy, of_particles = _occupancies(around, weights, constants)
    return power, occupancy, of_pairs, of_particles


@njit(**_LOOPS)
def _near_pairs(pairs, distance, direction, particles, cutoff):
    """Which pairs are near, int64 [M]; their first and second particles, directions [M, 3], and as
    of ``_members``; and how far they are switched on, float32 [M]."""
    first, second, _, _, _ = pairs
    count = 0
    for p in range(len(distance)):
        count += distance[p] < cutoff
    near, direct = np.empty(count, np.int64), np.empty((count, 3))
    one, other = np.empty(count, np.int64), np.empty(count, np.int64)
    switch = np.empty(count, np.float32)
    m = 0
    for p in range(len(distance)):
        if distance[p] < cutoff:
            near[m], one[m], other[m] = p, first[p], second[p]
            for axis in range(3):
                direct[m, axis] = direction[p, axis]
            switch[m] = 0.5 * (1 + np.cos(np.pi * distance[p] / cutoff))
            m += 1
    member, begin = _members(one, other, particles)
    return near, (one, other, direct, member, begin), switch


@njit(**_LOOPS)
def _gather_ends(message, share, first, second, out):
    """Add to ``out`` [N, C] of both particles of pairs a share [P] of their messages [P, C]."""
    for p in range(len(first)):
        for particle in (first[p], second[p]):
            for c in range(message.shape[1]):
                out[particle, c] += share[p] * message[p, c]


@njit(**_LOOPS)
def _directions(separation):
    """Distances float64 [E] and unit vectors [E, 3]."""
    distance, direction = np.empty(len(separation)), np.empty((len(separation), 3))
    for p in range(len(separation)):
        x, y, z = separation[p, 0], separation[p, 1], separation[p, 2]
        d = np.sqrt(np.float64(x) * x + np.float64(y) * y + np.float64(z) * z)
        distance[p] = d
        direction[p, 0], direction[p, 1], direction[p, 2] = x / d, y / d, z / d
    return distance, direction


@njit(**_LOOPS)
def _features(distance, direction, centres):
    """Gaussians of the distances and the cubic harmonics of the directions, float32 [E, R + 2]."""
    radial = len(centres)
    features = np.zeros((len(distance), radial + 2), np.float32)
    # From first to last: rounding of two neighbours would add up.
    width = (np.float64(centres[-1]) - np.float64(centres[0])) / (radial - 1)
    for p in range(len(distance)):
        share = (distance[p] - centres[0]) / width
        nearest = int(np.rint(share))
        # From one Gaussian to the next the ratio falls by e each time.
        for step in (-1, 1):
            value = np.exp(-0.5 * (share - nearest) ** 2)
            ratio = np.exp(step * (share - nearest) - 0.5)
            for away in range(_TAIL + 1):
                if 0 <= nearest + step * away < radial:
                    features[p, nearest + step * away] = value
                value *= ratio
                ratio *= _BY_E
        x, y, z = direction[p, 0] ** 2, direction[p, 1] ** 2, direction[p, 2] ** 2
        fourth = x * x + y * y + z * z - 3 / 5
        features[p, radial] = 2.5 * fourth
        features[p, radial + 1] = 65 * (x * y * z - 1 / 105 + fourth / 22)
    return features


@njit(**_LOOPS)
def _multiply(values, matrix, out):
    """out [P, outputs] += values [P, inputs] @ matrix: four rows by four inputs at a time, which
    leaves little to read and write. By indices throughout: slices would be counted as references.
    """
    rows, inputs = values.shape
    fours = inputs // 4 * 4
    for p in range(0, rows // 4 * 4, 4):
        for i in range(0, fours, 4):
            a0, a1, a2, a3 = values[p, i], values[p, i + 1], values[p, i + 2], values[p, i + 3]
            q = p + 1
            b0, b1, b2, b3 = values[q, i], values[q, i + 1], values[q, i + 2], values[q, i + 3]
            q = p + 2
            c0, c1, c2, c3 = values[q, i], values[q, i + 1], values[q, i + 2], values[q, i + 3]
            q = p + 3
            d0, d1, d2, d3 = values[q, i], values[q, i + 1], values[q, i + 2], values[q, i + 3]
            for o in range(out.shape[1]):
                w, x, y, z = matrix[i, o], matrix[i + 1, o], matrix[i + 2, o], matrix[i + 3, o]
                out[p, o] += a0 * w + a1 * x + a2 * y + a3 * z
                out[p + 1, o] += b0 * w + b1 * x + b2 * y + b3 * z
                out[p + 2, o] += c0 * w + c1 * x + c2 * y + c3 * z
                out[p + 3, o] += d0 * w + d1 * x + d2 * y + d3 * z
    for p in range(rows):
        for i in range(fours if p < rows // 4 * 4 else 0, inputs):
            a0 = values[p, i]
            for o in range(out.shape[1]):
                out[p, o] += a0 * matrix[i, o]


@njit(**(_LOOPS | {"fastmath": {"contract", "nsz", "reassoc"}}))
def _project(values, p, vector):
    """values[p] @ vector [inputs, 1]."""
    total = np.float32(0)
    for i in range(len(vector)):
        total += values[p, i] * vector[i, 0]
    return total


@njit(**_LOOPS)
def _silu(values):
    """x / (1 + exp(-x)) in place, float32 [P, outputs]: in vectors, for which exp is a polynomial
    times a power of two set by its bits."""
    flat = values.ravel()
    bits = np.empty(len(flat), np.int32)
    share = np.empty(len(flat), np.float32)
    for i in range(len(flat)):
        x = min(max(-flat[i], np.float32(-80)), np.float32(80))
        whole = np.rint(x * np.float32(1.4426950408889634))
        # ln 2 in two parts, so that little is lost of x less a large multiple of it.
        r = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
        p = np.float32(1.3888889e-3)
        p = p * r + np.float32(8.3333333e-3)
        p = p * r + np.float32(4.1666667e-2)
        p = p * r + np.float32(1.6666667e-1)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1)
        share[i] = p * r + np.float32(1)
        bits[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    power = bits.view(np.float32)
    for i in range(len(flat)):
        flat[i] /= np.float32(1) + share[i] * power[i]


@njit(**_LOOPS)
def _stand_both(particle, first, second, mean, scale, out):
    """Fill the first columns of ``out`` [P, 2 C ...] with standardised sums and products of what
    the particles [N, C] of pairs see."""
    channels = particle.shape[1]
    for p in range(len(first)):
        i, j = first[p], second[p]
        for c in range(channels):
            at = channels + c
            out[p, c] = (particle[i, c] + particle[j, c] - mean[c]) / scale[c]
            out[p, at] = (particle[i, c] * particle[j, c] - mean[at]) / scale[at]


@njit(**_LOOPS)
def _far_logarithms(pairs, distance, features, particle, weights, constants):
    """ln of conductance over area [E] before the rounds, and conductances [E] of the solvent beside
    pairs."""
    first, second, _, facet, beside = pairs
    radial, far, to_beside = weights.pair, weights.far, weights.beside
    count, inputs = features.shape
    ends = np.empty((count, len(weights.ends_mean)), np.float32)
    _stand_both(particle, first, second, weights.ends_mean, weights.ends_scale, ends)
    hidden = _repeat(weights.far_bias, count)
    of_features, of_rest = weights.far_hidden[:inputs], weights.far_hidden[inputs:]
    mean, scale = weights.facet_mean, weights.facet_scale
    _multiply(features, of_features, hidden)
    for p in range(count):
        size = np.float32((facet[p] - mean[0]) / scale[0])
        logarithm = np.float32((np.log(facet[p] + constants.small_facet) - mean[1]) / scale[1])
        for o in range(hidden.shape[1]):
            hidden[p, o] += size * of_rest[0, o] + logarithm * of_rest[1, o]
    _multiply(ends, of_rest[2:], hidden)
    _silu(hidden)
    found, solvent = np.empty(count), np.zeros(count)
    for p in range(count):
        fall = np.log(distance[p]) + constants.decay * (min(distance[p], constants.shells_end) - 1)
        learned = _project(features, p, radial) + _project(hidden, p, far)
        found[p] = constants.far_bias - fall + learned
        if beside[p] > 0:
            learned = constants.beside_bias + _project(hidden, p, to_beside)
            solvent[p] = constants.conductivity * beside[p] * np.exp(learned)
    return found, solvent


@njit(**_LOOPS)
def _members(first, second, particles):
    """The near pairs of each particle, and where in them those of each begin [N + 1]."""
    begin = np.zeros(particles + 1, np.int64)
    for m in range(len(first)):
        begin[first[m] + 1] += 1
        begin[second[m] + 1] += 1
    member, filled = np.empty(2 * len(first), np.int64), np.zeros(particles, np.int64)
    for i in range(particles):
        begin[i + 1] += begin[i]
        filled[i] = begin[i]
    for m in range(len(first)):
        for particle in (first[m], second[m]):
            member[filled[particle]] = m
            filled[particle] += 1
    return member, begin


@njit(**_LOOPS)
def _round(ends, known, switch, particle, weights, k):
    """What near pairs know after round ``k``, [M, neurons], from what they knew before."""
    count, channels = len(known), particle.shape[1]
    sources = np.zeros((count, channels), np.float32)
    _multiply(known, weights.to_wedge[k, : known.shape[1]], sources)
    for m in range(count):
        for c in range(channels):
            sources[m, c] *= switch[m]
    seen = np.empty((count, 3 * channels), np.float32)
    mean, scale = weights.seen_mean[k], weights.seen_scale[k]
    _stand_both(particle, ends[0], ends[1], mean, scale, seen)
    _sum_wedges(ends, sources, weights.angle[k], mean, scale, seen)
    hidden = _repeat(weights.hidden_bias[k], count)
    _multiply(known, weights.hidden_known[k, : known.shape[1]], hidden)
    _multiply(seen, weights.hidden_seen[k], hidden)
    _silu(hidden)
    out = _repeat(weights.out_bias[k], count)
    _multiply(hidden, weights.out[k], out)
    _silu(out)
    for m in range(count):
        for o in range(out.shape[1]):
            out[m, o] += hidden[m, o]
    return out


@njit(**_LOOPS)
def _repeat(bias, rows):
    """[rows, outputs]."""
    out = np.empty((rows, len(bias)), np.float32)
    for p in range(rows):
        for o in range(len(bias)):
            out[p, o] = bias[o]
    return out


@njit(**_LOOPS)
def _sum_wedges(ends, sources, angle, mean, scale, out):
    """Fill the last columns of ``out`` [M, 3 C] with standardised sums over wedges."""
    first, second, direction, member, begin = ends
    channels = sources.shape[1]
    total = np.empty(channels, np.float32)
    for m in range(len(out)):
        total[:] = 0
        for particle in (first[m], second[m]):
            for place in range(begin[particle], begin[particle + 1]):
                other = member[place]
                if other == m:
                    continue
                cosine = 0.0
                for axis in range(3):
                    cosine += direction[m, axis] * direction[other, axis]
                # Directions point from the second to the first of a pair.
                if (first[other] == particle) != (first[m] == particle):
                    cosine = -cosine
                # Chebyshev's polynomials after 1, of which single precision would lose a digit.
                second_order = 2 * cosine * cosine - 1
                third_order = 2 * cosine * second_order - cosine
                fourth_order = 2 * cosine * third_order - second_order
                a, b, c = np.float32(cosine), np.float32(second_order), np.float32(third_order)
                d = np.float32(fourth_order)
                e = np.float32(2 * cosine * fourth_order - third_order)
                for k in range(channels):
                    even = angle[0, k] + b * angle[2, k] + d * angle[4, k]
                    odd = a * angle[1, k] + c * angle[3, k] + e * angle[5, k]
                    total[k] += sources[other, k] * (even + odd)
        for k in range(channels):
            column = 2 * channels + k
            out[m, column] = (total[k] - mean[column]) / scale[column]


@njit(**_LOOPS)
def _occupancies(around, weights, constants):
    """Sum of the occupancies of the particles of a structure, and of their derivatives by the
    weights and the bias of their layer [neurons + 1]."""
    rounds, particles, channels = around.shape
    standard = np.empty((particles, rounds * channels), np.float32)
    mean, scale = weights.around_mean, weights.around_scale
    for i in range(particles):
        for k in range(rounds):
            for c in range(channels):
                at = k * channels + c
                standard[i, at] = (around[k, i, c] - mean[at]) / scale[at]
    hidden = _repeat(weights.occupancy_bias, particles)
    _multiply(standard, weights.occupancy_hidden, hidden)
    _silu(hidden)
    total, to_occupancy = 0.0, weights.occupancy
    weighted = np.zeros(hidden.shape[1] + 1)
    for i in range(particles):
        learned = constants.occupancy_bias + _project(hidden, i, to_occupancy)
        slope = np.exp(min(learned, 0.0))
        total += 1 + learned if learned > 0 else slope
        for o in range(hidden.shape[1]):
            weighted[o] += slope * hidden[i, o]
        weighted[-1] += slope
    return total, weighted


@njit(**_LOOPS)
def _dissipation(pairs, distance, conductance, solvent, particles, constants):
    """Power [3, 3] as of ``Sums`` by Kirchhoff's laws, nan if the conductances are not sound, and
    each pair's part [E] of the trace of K_ab."""
    first, second, separation, facet, beside = pairs
    # The upper triangle, and beside it what the unit fields along the axes drive into each.
    matrix = np.zeros((particles, particles + 3))
    for p in range(len(first)):
        i, j, g = first[p], second[p], conductance[p] + solvent[p]
        matrix[min(i, j), max(i, j)] -= g
        matrix[i, i] += g
        matrix[j, j] += g
        for axis in range(3):
            matrix[i, particles + axis] -= g * separation[p, axis]
            matrix[j, particles + axis] += g * separation[p, axis]
    mean = 0.0
    for i in range(particles):
        mean += matrix[i, i] / particles
    mean = max(mean, 1e-30)
    for i in range(particles):
        matrix[i, i] += constants.ground * mean
        for j in range(i, particles):
            matrix[i, j] += mean / particles
    power, field, share = np.zeros((3, 3)), np.empty(3), np.zeros(len(first))
    if not _eliminate(matrix):
        return power * np.nan, share
    for p in range(len(first)):
        for axis in range(3):
            drop = matrix[first[p], particles + axis] - matrix[second[p], particles + axis]
            field[axis] = separation[p, axis] + drop
        of_solvent = constants.conductivity * (facet[p] / distance[p] + beside[p])
        for a in range(3):
            for b in range(3):
                power[a, b] += (conductance[p] + solvent[p]) * field[a] * field[b]
                power[a, b] -= of_solvent * separation[p, a] * separation[p, b]
            share[p] += conductance[p] * field[a] * field[a]
    return power, share


@njit(**_LOOPS)
def _eliminate(matrix):
    """Solve symmetric equations [N, N + columns], of which the upper triangle and the right-hand
    sides are given; the solutions take the place of these. False if it is not positive."""
    order, width = matrix.shape
    inverse = np.empty(order)  # of the pivots
    for i in range(order):
        for k in range(0, i // 4 * 4, 4):
            a, b = matrix[k, i] * inverse[k], matrix[k + 1, i] * inverse[k + 1]
            c, d = matrix[k + 2, i] * inverse[k + 2], matrix[k + 3, i] * inverse[k + 3]
            for j in range(i, width):
                both = a * matrix[k, j] + b * matrix[k + 1, j]
                matrix[i, j] -= both + c * matrix[k + 2, j] + d * matrix[k + 3, j]
        for k in range(i // 4 * 4, i):
            a = matrix[k, i] * inverse[k]
            for j in range(i, width):
                matrix[i, j] -= a * matrix[k, j]
        if not matrix[i, i] > 0:
            return False
        inverse[i] = 1 / matrix[i, i]
    for k in range(order - 1, -1, -1):
        for column in range(order, width):
            matrix[k, column] *= inverse[k]
        for i in range(k):
            for column in range(order, width):
                matrix[i, column] -= matrix[i, k] * matrix[k, column]
    return True
