"""Facets between particles: how wide the way of a current from one to the next is.

A point belongs to the particle whose centre is nearest (Voronoi). All that flows from one particle
to another without touching a third crosses the facet between their cells; two without one exchange
nothing. Of a facet the part counts that lies within ``reach`` of both centres: it depends on
particles closer than twice that alone, and shrinks to nothing as two of them part to that distance.
"""

import numpy as np
from numba import njit, prange

_LEAST = 1e-9  # square diameters; a smaller facet is rounding


@njit(cache=True, nogil=True, parallel=True)
def meeting_pairs(positions, box, near, far, facets):
    """Structure, first and second particle, and facet [E] of all pairs of structures [B, N, 3].

    A pair is closer than ``far``, and if ``facets`` are asked for has one or is closer than
    ``near``. In this file with all it calls: Numba's cache does not see a change in another.
    """
    structures, particles, _ = positions.shape
    count = np.zeros(structures * particles, np.int64)
    partner = np.empty((structures * particles, particles), np.int32)
    areas = np.empty((structures * particles, particles), np.float32)
    for one in prange(structures * particles):
        centres, i = positions[one // particles], one % particles
        count[one] = _pairs_of(centres, i, box, near, far, facets, partner[one], areas[one])
    total = count.sum()
    structure, facet = np.empty(total, np.int64), np.empty(total, np.float32)
    first, second = np.empty(total, np.int64), np.empty(total, np.int64)
    at = 0
    for one in range(structures * particles):
        for place in range(count[one]):
            structure[at], facet[at] = one // particles, areas[one, place]
            first[at], second[at] = one, one // particles * particles + partner[one, place]
            at += 1
    return structure, first, second, facet


@njit(cache=True)
def _pairs_of(centres, i, box, near, far, facets, partner, areas):
    """Fill the particles behind i that it meets, and the facets with them; returns how many."""
    particles = len(centres)
    away, apart = np.empty((particles, 3)), np.empty(particles)
    # Facets take all distances, pairs alone those to particles behind i.
    _measure(centres, i, 0 if facets else i + 1, box, away, apart)
    order = np.empty(particles, np.int64)
    around = _sort_around(apart, i, far, order) if facets else 0
    room = _room_for_polygons(around)
    count = 0
    for j in range(i + 1, particles):
        if apart[j] >= far:
            continue
        area = 0.0
        if facets:
            area = _facet_area(away, apart, order[:around], j, far / 2, room)
            if area < _LEAST:
                area = 0.0
                if apart[j] >= near:
                    continue
        partner[count], areas[count] = j, area
        count += 1
    return count


@njit(cache=True)
def _measure(centres, i, start, box, away, apart):
    """Fill minimum-image x_k - x_i, ``away[k]``, and their lengths, for k from ``start`` on."""
    for k in range(start, len(centres)):
        square = 0.0
        for axis in range(3):
            d = centres[k, axis] - centres[i, axis]
            d -= box * np.rint(d / box)
            away[k, axis] = d
            square += d * d
        apart[k] = np.sqrt(square)


@njit(cache=True, error_model="numpy")
def _sort_around(apart, i, cutoff, order):
    """Fill ``order`` [N] with the particles closer than ``cutoff`` to i, nearest first, by their
    distances ``apart`` [N]; returns how many there are."""
    count = 0
    for k in range(len(apart)):
        if k != i and apart[k] < cutoff:
            place = count
            while place > 0 and apart[order[place - 1]] > apart[k]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = k
            count += 1
    return count


@njit(cache=True, error_model="numpy")
def _room_for_polygons(around):
    """Coordinates u and v of the corners of two polygons, and a number to each; [5, corners].

    Each of the particles around can add a corner to the first four.
    """
    return np.empty((5, around + 6))


@njit(cache=True, error_model="numpy")
def _facet_area(away, apart, order, j, reach, room):
    """Area of the facet between particles i and j, within ``reach`` of both.

    ``away`` [N, 3] and ``apart`` [N] are x_k - x_i of all particles and their lengths; ``order``
    are those closer than 2 ``reach`` to i, nearest first; ``room`` is for the work.
    """
    d = apart[j]
    square = reach * reach - d * d / 4  # of the radius of the disc that a facet can fill
    if square <= 0:
        return 0.0
    normal = away[j, 0] / d, away[j, 1] / d, away[j, 2] / d
    if _closed(away, apart, order, j, normal, square):
        return 0.0
    first, second = _across(normal)
    size, widest, now = _square(room, np.sqrt(square)), 2 * square, 0
    for k in order:
        if apart[k] ** 2 >= 4 * min(widest, square) + d * d:
            break
        if k == j:
            continue
        # Points u, v of the plane with a u + b v > c are nearer to k than to i and j.
        x, y, z = away[k, 0], away[k, 1], away[k, 2]
        along = x * normal[0] + y * normal[1] + z * normal[2]
        c = (apart[k] ** 2 - d * along) / 2
        if c > 0 and c * c >= widest * (apart[k] ** 2 - along * along):
            continue
        a = x * first[0] + y * first[1] + z * first[2]
        b = x * second[0] + y * second[1] + z * second[2]
        kept, largest = _clip(room, now, size, a, b, c)
        if kept < 3:
            return 0.0
        if largest >= 0:
            size, widest, now = kept, largest, 1 - now
    return max(_within_disc(room[2 * now], room[2 * now + 1], size, square), 0.0)


@njit(cache=True, error_model="numpy")
def _closed(away, apart, order, j, normal, square):
    """Whether a single particle is nearer to all of the disc: so it is for half of all pairs."""
    d = apart[j]
    for k in order:
        if apart[k] >= d:
            return False
        along = away[k, 0] * normal[0] + away[k, 1] * normal[1] + away[k, 2] * normal[2]
        c = (apart[k] ** 2 - d * along) / 2
        if c < 0 and c * c >= square * (apart[k] ** 2 - along * along):
            return True
    return False


@njit(cache=True, error_model="numpy")
def _across(normal):
    """Two unit vectors normal to one and to each other."""
    x, y, z = normal
    if abs(x) <= abs(y) and abs(x) <= abs(z):
        a, b, c = 0.0, z, -y
    elif abs(y) <= abs(z):
        a, b, c = -z, 0.0, x
    else:
        a, b, c = y, -x, 0.0
    length = np.sqrt(a * a + b * b + c * c)
    a, b, c = a / length, b / length, c / length
    return (a, b, c), (y * c - z * b, z * a - x * c, x * b - y * a)


@njit(cache=True, error_model="numpy")
def _square(room, half):
    """Make the first polygon a square around 0; returns the number of its corners."""
    for corner in range(4):
        room[0, corner] = half if corner in (1, 2) else -half
        room[1, corner] = half if corner in (2, 3) else -half
    return 4


@njit(cache=True, error_model="numpy")
def _clip(room, now, size, a, b, c):
    """Write the part with a u + b v <= c of the convex polygon ``now`` to the other one.

    Returns its corners and the largest square of their distances to 0; -1 for that and nothing
    written if nothing is cut off.
    """
    u, v, over = 2 * now, 2 * now + 1, 4
    to_u, to_v = 2 - 2 * now, 3 - 2 * now
    cuts = False
    for corner in range(size):
        room[over, corner] = a * room[u, corner] + b * room[v, corner] - c
        cuts |= room[over, corner] > 0
    if not cuts:
        return size, -1.0
    count, largest = 0, 0.0
    last_u, last_v, before = room[u, size - 1], room[v, size - 1], room[over, size - 1]
    for corner in range(size):
        # Without a branch, which would be foreseen wrongly half the time.
        this_u, this_v, at = room[u, corner], room[v, corner], room[over, corner]
        inside = at < 0
        crossed = (before < 0) != inside
        share = before / (before - at if crossed else 1.0)
        cut_u, cut_v = last_u + share * (this_u - last_u), last_v + share * (this_v - last_v)
        room[to_u, count], room[to_v, count] = cut_u, cut_v
        largest = max(largest, cut_u * cut_u + cut_v * cut_v if crossed else 0.0)
        count += crossed
        room[to_u, count], room[to_v, count] = this_u, this_v
        largest = max(largest, this_u * this_u + this_v * this_v if inside else 0.0)
        count += inside
        last_u, last_v, before = this_u, this_v, at
    return count, largest


@njit(cache=True, error_model="numpy")
def _within_disc(u, v, size, square):
    """Area of the part of a polygon within a disc around 0, ``square`` of whose radius is given."""
    area, inside, last = 0.0, True, size - 1
    for corner in range(size):
        area += u[last] * v[corner] - v[last] * u[corner]
        inside &= u[corner] ** 2 + v[corner] ** 2 <= square
        last = corner
    if inside:
        return area / 2
    area = 0.0
    for corner in range(size):
        area += _within_sector(u[last], v[last], u[corner], v[corner], square)
        last = corner
    return area


@njit(cache=True, error_model="numpy")
def _within_sector(u, v, next_u, next_v, square):
    """Area, with sign, that a disc around 0 shares with the triangle of 0 and an edge."""
    along_u, along_v = next_u - u, next_v - v
    length = along_u**2 + along_v**2
    half = u * along_u + v * along_v
    root = half * half - length * (u * u + v * v - square)
    if root <= 0 or length == 0:
        return _sector(u, v, next_u, next_v, square)
    root = np.sqrt(root)
    # Where on the edge it enters the disc and leaves it.
    enters, leaves = (-half - root) / length, (-half + root) / length
    if leaves <= 0 or enters >= 1:
        return _sector(u, v, next_u, next_v, square)
    enters, leaves = max(enters, 0.0), min(leaves, 1.0)
    in_u, in_v = u + enters * along_u, v + enters * along_v
    out_u, out_v = u + leaves * along_u, v + leaves * along_v
    area = (in_u * out_v - in_v * out_u) / 2
    if enters > 0:
        area += _sector(u, v, in_u, in_v, square)
    if leaves < 1:
        area += _sector(out_u, out_v, next_u, next_v, square)
    return area


@njit(cache=True, error_model="numpy")
def _sector(u, v, next_u, next_v, square):
    """Area, with sign, of the sector of a disc between two directions."""
    return square / 2 * np.arctan2(u * next_v - v * next_u, u * next_u + v * next_v)
