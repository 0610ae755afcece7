"""Facets between particles: how wide the way of a current from one to the next is.

A point belongs to the particle whose centre is nearest (Voronoi). All that flows from one particle
to another without touching a third crosses the facet between their cells; two without one exchange
nothing. Of a facet the part counts that lies within ``reach`` of both centres: it depends on
particles closer than twice that alone, and shrinks to nothing as two of them part to that distance.
"""

import numpy as np
from numba import njit

_CORNERS = 64  # room for a polygon: each of the particles around can add one


@njit(cache=True, error_model="numpy")
def sort_around(apart, i, cutoff, order):
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
def room_for_polygons():
    """Room for two polygons, [2, corners, 2]."""
    return np.empty((2, _CORNERS, 2))


@njit(cache=True, error_model="numpy")
def facet_area(away, apart, order, j, reach, polygons):
    """Area of the facet between particles i and j, within ``reach`` of both.

    ``away`` [N, 3] and ``apart`` [N] are x_k - x_i of all particles and their lengths; ``order``
    are those closer than 2 ``reach`` to i, nearest first; ``polygons`` is room for the work.
    """
    d = apart[j]
    square = reach * reach - d * d / 4  # of the radius of the disc that a facet can fill
    if square <= 0:
        return 0.0
    normal, first, second = _frame(away[j, 0] / d, away[j, 1] / d, away[j, 2] / d)
    for k in order:
        if apart[k] >= d:
            break
        along = away[k, 0] * normal[0] + away[k, 1] * normal[1] + away[k, 2] * normal[2]
        c = (apart[k] ** 2 - d * along) / 2
        if c < 0 and c * c >= square * (apart[k] ** 2 - along * along):
            return 0.0  # all of the disc is nearer to k: so it is for most pairs
    now, then = polygons[0], polygons[1]
    size, farthest = _square(now, np.sqrt(square)), reach
    for k in order:
        if apart[k] >= 2 * farthest:
            break
        if k == j:
            continue
        # Points u, v of the plane with a u + b v > c are nearer to k than to i and j.
        x, y, z = away[k, 0], away[k, 1], away[k, 2]
        a = x * first[0] + y * first[1] + z * first[2]
        b = x * second[0] + y * second[1] + z * second[2]
        c = (apart[k] ** 2 - d * (x * normal[0] + y * normal[1] + z * normal[2])) / 2
        size, widest = _clip(now, size, a, b, c, then)
        if widest >= 0:
            now, then = then, now
            if size < 3:
                return 0.0
            farthest = min(reach, np.sqrt(widest + d * d / 4))
    return max(_within_disc(now, size, square), 0.0)


@njit(cache=True, error_model="numpy")
def _frame(x, y, z):
    """A unit vector and two normal to it and to each other."""
    if abs(x) <= abs(y) and abs(x) <= abs(z):
        a, b, c = 0.0, z, -y
    elif abs(y) <= abs(z):
        a, b, c = -z, 0.0, x
    else:
        a, b, c = y, -x, 0.0
    length = np.sqrt(a * a + b * b + c * c)
    a, b, c = a / length, b / length, c / length
    return (x, y, z), (a, b, c), (y * c - z * b, z * a - x * c, x * b - y * a)


@njit(cache=True, error_model="numpy")
def _square(polygon, half):
    """Make the polygon a square around 0; returns the number of its corners."""
    for corner in range(4):
        polygon[corner, 0] = half if corner in (1, 2) else -half
        polygon[corner, 1] = half if corner in (2, 3) else -half
    return 4


@njit(cache=True, error_model="numpy")
def _clip(polygon, size, a, b, c, out):
    """Write the part with a u + b v <= c of a convex polygon of ``size`` corners to ``out``.

    Returns its corners and the largest square of their distances to 0; -1 for that and nothing
    written if nothing is cut off.
    """
    most = -np.inf
    for corner in range(size):
        most = max(most, a * polygon[corner, 0] + b * polygon[corner, 1])
    if most <= c:
        return size, -1.0
    count, widest = 0, 0.0
    u, v = polygon[size - 1]
    over = a * u + b * v - c
    for corner in range(size):
        next_u, next_v = polygon[corner]
        next_over = a * next_u + b * next_v - c
        if (over < 0) != (next_over < 0):
            share = over / (over - next_over)
            out[count, 0] = u + share * (next_u - u)
            out[count, 1] = v + share * (next_v - v)
            widest = max(widest, out[count, 0] ** 2 + out[count, 1] ** 2)
            count += 1
        if next_over < 0:
            out[count, 0], out[count, 1] = next_u, next_v
            widest = max(widest, next_u**2 + next_v**2)
            count += 1
        u, v, over = next_u, next_v, next_over
    return count, widest


@njit(cache=True, error_model="numpy")
def _within_disc(polygon, size, square):
    """Area of the part of a polygon within a disc around 0, ``square`` of whose radius is given."""
    area, inside = 0.0, True
    u, v = polygon[size - 1]
    for corner in range(size):
        next_u, next_v = polygon[corner]
        area += u * next_v - v * next_u
        inside &= next_u**2 + next_v**2 <= square
        u, v = next_u, next_v
    if inside:
        return area / 2
    area = 0.0
    u, v = polygon[size - 1]
    for corner in range(size):
        next_u, next_v = polygon[corner]
        area += _within_sector(u, v, next_u, next_v, square)
        u, v = next_u, next_v
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
