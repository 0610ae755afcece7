"""Facets between particles: how wide the way of a current from one to the next is.

A point belongs to the particle whose centre is nearest (Voronoi). All that flows from one particle
to another without touching a third crosses the facet between their cells; two without one exchange
nothing. Of a facet the part that lies within ``reach`` of both centres depends on particles closer
than twice that alone, and shrinks to nothing as two of them part to that distance. What of it lies
beyond is told apart: there is nothing but the solvent of a void.
"""

import numpy as np
from numba import njit, prange

_LEAST = 1e-9  # square diameters; a smaller facet is rounding
_FADES = 0.05  # of ``far``; within this of it ``beside`` falls to 0, so that nothing jumps


@njit(cache=True, nogil=True, parallel=True)
def meeting_pairs(positions, box, near, far, facets):
    """Structure, first and second particle, facet and ``beside`` [E] of all pairs of structures
    [B, N, 3].

    A pair is closer than ``far``, and if ``facets`` are asked for has one or is closer than
    ``near``. ``facet`` is the area within half of ``far`` of both, ``beside`` the area beyond over
    their distance, less at distances close to ``far``. In this file with all it calls: Numba's
    cache does not see a change in another.
    """
    structures, particles, _ = positions.shape
    count = np.zeros(structures * particles, np.int64)
    partner = np.empty((structures * particles, particles), np.int32)
    areas = np.empty((structures * particles, particles, 2), np.float32)
    for one in prange(structures * particles):
        centres, i = positions[one // particles], one % particles
        count[one] = _pairs_of(centres, i, box, near, far, facets, partner[one], areas[one])
    total = count.sum()
    structure, first = np.empty(total, np.int64), np.empty(total, np.int64)
    second = np.empty(total, np.int64)
    facet, beside = np.empty(total, np.float32), np.empty(total, np.float32)
    at = 0
    for one in range(structures * particles):
        for place in range(count[one]):
            structure[at] = one // particles
            facet[at], beside[at] = areas[one, place]
            first[at], second[at] = one, one // particles * particles + partner[one, place]
            at += 1
    return structure, first, second, facet, beside


@njit(cache=True)
def _pairs_of(centres, i, box, near, far, facets, partner, areas):
    """Fill the particles behind i that it meets, and what of ``facet`` and ``beside`` there is with
    them; returns how many."""
    particles = len(centres)
    away, apart = np.empty((particles, 3)), np.empty(particles)
    # Facets take all distances, pairs alone those to particles behind i.
    _measure(centres, i, 0 if facets else i + 1, box, away, apart)
    order = np.empty(particles, np.int64)
    around = _sort_around(apart, i, far, order) if facets else 0
    room = _room_for_polygons(particles)
    count = 0
    for j in range(i + 1, particles):
        if apart[j] >= far:
            continue
        within = beyond = 0.0
        if facets:
            within, beyond = _facet(away, apart, order[:around], j, far / 2, box, room)
            if within + beyond < _LEAST and apart[j] >= near:
                continue
        partner[count] = j
        areas[count, 0] = within
        areas[count, 1] = beyond / apart[j] * min((1 - apart[j] / far) / _FADES, 1.0)
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
def _room_for_polygons(particles):
    """Coordinates u and v of the corners of two polygons, and a number to each; [5, corners].

    As many as if each particle and its nearest images added one to the first four.
    """
    return np.empty((5, particles + 30))


@njit(cache=True, error_model="numpy")
def _facet(away, apart, order, j, reach, box, room):
    """Areas of the facet between particles i and j within ``reach`` of both, and beyond.

    ``away`` [N, 3] and ``apart`` [N] are x_k - x_i of all particles and their lengths; ``order``
    are those closer than 2 ``reach`` to i, nearest first; ``room`` is for the work. The box has
    room for 4 ``reach``.
    """
    d = apart[j]
    plane = _plane_between(away, j, d)
    # No cell goes beyond a box around its particle.
    polygon = _square(room, box)
    for k in order:
        if apart[k] ** 2 >= _square_of_reach(polygon, d):
            break
        if k != j:
            polygon = _cut(room, polygon, plane, away[k, 0], away[k, 1], away[k, 2])
            if polygon[1] < 3:
                return 0.0, 0.0
    if 4 * reach * reach < _square_of_reach(polygon, d):
        polygon = _cut_by_images(room, polygon, plane, away, 2 * reach, box)
        if polygon[1] < 3:
            return 0.0, 0.0
    now, size, widest = polygon
    u, v = room[2 * now], room[2 * now + 1]
    whole, square = max(_area(u, v, size), 0.0), reach * reach - d * d / 4
    if widest <= square:
        return whole, 0.0
    within = max(_within_disc(u, v, size, square), 0.0)
    return within, max(whole - within, 0.0)


@njit(cache=True, error_model="numpy")
def _square_of_reach(polygon, d):
    """How far away from i a particle that cuts off some of a polygon is at most, squared."""
    return 4 * polygon[2] + d * d


@njit(cache=True, error_model="numpy")
def _cut_by_images(room, polygon, plane, away, least, box):
    """What particles, and images of them, leave of a polygon that are ``least`` away or farther."""
    d = plane[0]
    shifts = int(np.sqrt(_square_of_reach(polygon, d)) / box + 0.5)
    for k in range(len(away)):
        for a in range(-shifts, shifts + 1):
            x = away[k, 0] + a * box
            if x * x >= _square_of_reach(polygon, d):
                continue
            for b in range(-shifts, shifts + 1):
                y = away[k, 1] + b * box
                if x * x + y * y >= _square_of_reach(polygon, d):
                    continue
                for c in range(-shifts, shifts + 1):
                    z = away[k, 2] + c * box
                    square = x * x + y * y + z * z
                    if least * least <= square < _square_of_reach(polygon, d):
                        polygon = _cut(room, polygon, plane, x, y, z)
                        if polygon[1] < 3:
                            return polygon
    return polygon


@njit(cache=True, error_model="numpy")
def _cut(room, polygon, plane, x, y, z):
    """What a particle at x, y, z from i leaves of a polygon in the plane between i and j.

    A polygon is which of the two in ``room`` it is, its corners, and the largest square of their
    distances from the middle.
    """
    now, size, widest = polygon
    d, normal, first, second = plane
    # Points u, v of the plane with a u + b v > c are nearer to it than to i and j.
    along = x * normal[0] + y * normal[1] + z * normal[2]
    square = x * x + y * y + z * z
    c = (square - d * along) / 2
    if c * c >= widest * (square - along * along):
        return (now, size, widest) if c > 0 else (now, 0, 0.0)
    a = x * first[0] + y * first[1] + z * first[2]
    b = x * second[0] + y * second[1] + z * second[2]
    kept, largest = _clip(room, now, size, a, b, c)
    return (now, size, widest) if largest < 0 else (1 - now, kept, largest)


@njit(cache=True, error_model="numpy")
def _plane_between(away, j, d):
    """Distance ``d`` of particle j from i, the direction to it, and two unit vectors across."""
    normal = away[j, 0] / d, away[j, 1] / d, away[j, 2] / d
    first, second = _across(normal)
    return d, normal, first, second


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
    """Make the first polygon a square around 0."""
    for corner in range(4):
        room[0, corner] = half if corner in (1, 2) else -half
        room[1, corner] = half if corner in (2, 3) else -half
    return 0, 4, 2 * half * half


@njit(cache=True, error_model="numpy")
def _clip(room, now, size, a, b, c):
    """Write the part with a u + b v <= c of the convex polygon ``now`` to the other one.

    Returns its corners and the largest square of their distances to 0; -1 for that and nothing
    written if nothing is cut off. Nor is it where there is no room for one more corner, which no
    particles but overlapping ones come to.
    """
    u, v, over = 2 * now, 2 * now + 1, 4
    to_u, to_v = 2 - 2 * now, 3 - 2 * now
    cuts = False
    for corner in range(size):
        room[over, corner] = a * room[u, corner] + b * room[v, corner] - c
        cuts |= room[over, corner] > 0
    if not cuts or size == room.shape[1]:
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
def _area(u, v, size):
    """Area of a polygon."""
    area, last = 0.0, size - 1
    for corner in range(size):
        area += u[last] * v[corner] - v[last] * u[corner]
        last = corner
    return area / 2


@njit(cache=True, error_model="numpy")
def _within_disc(u, v, size, square):
    """Area of the part of a polygon within a disc around 0, ``square`` of whose radius is given."""
    area, last = 0.0, size - 1
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
