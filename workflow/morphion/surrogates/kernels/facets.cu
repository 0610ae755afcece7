// Facets between particles: morphion/surrogates/facets.py, operation by operation. Follows
// network.cu.

// A particle near another: how far away it is along the axes, and in all.
struct Around {
    double x, y, z, apart;
};

// Corners u, v of two convex polygons, of which a cut turns one into the other.
struct Polygons {
    double *u, *v;  // [2, limit]
    int limit;      // corners there is memory for
    int now, size;  // the one that stands, and its corners
};

// Half-plane a u + b v <= c.
struct Half {
    double a, b, c;
};

struct Axes {
    double first[3], second[3];
};

constexpr double TOO_MANY = -1.0;  // corners for the memory there is

// Two unit vectors normal to one and to each other.
__device__ __forceinline__ Axes across(double x, double y, double z)
{
    double a = y, b = -x, c = 0.0;
    if (fabs(x) <= fabs(y) && fabs(x) <= fabs(z)) {
        a = 0.0, b = z, c = -y;
    } else if (fabs(y) <= fabs(z)) {
        a = -z, b = 0.0, c = x;
    }
    double length = sqrt(a * a + b * b + c * c);
    a /= length, b /= length, c /= length;
    return {{a, b, c}, {y * c - z * b, z * a - x * c, x * b - y * a}};
}

// Whether a single particle is nearer to all of the disc, normal to a direction, between a particle
// and one at distance d: so it is for half of all pairs. `square` is that of the disc's radius.
__device__ __forceinline__ bool closed(
    const Around* around, int count, double d, const double* normal, double square)
{
    for (int s = 0; s < count; ++s) {
        Around k = around[s];
        if (k.apart >= d) return false;
        double along = k.x * normal[0] + k.y * normal[1] + k.z * normal[2];
        double c = (k.apart * k.apart - d * along) / 2;
        if (c < 0 && c * c >= square * (k.apart * k.apart - along * along)) return true;
    }
    return false;
}

// Make the first polygon a square around 0.
__device__ __forceinline__ void begin(Polygons& room, double half)
{
    for (int corner = 0; corner < 4; ++corner) {
        room.u[corner] = corner == 1 || corner == 2 ? half : -half;
        room.v[corner] = corner >= 2 ? half : -half;
    }
    room.now = 0, room.size = 4;
}

// Add a corner; returns the larger of a square distance from 0 and that of the corner.
__device__ __forceinline__ double add(
    Polygons& room, int to, int& count, double u, double v, double largest)
{
    room.u[to + count] = u, room.v[to + count] = v;
    ++count;
    return max(largest, u * u + v * v);
}

// Keep the part of the polygon in a half-plane; returns the largest square of the distances of its
// corners from 0, `widest` if nothing is cut off, or TOO_MANY.
__device__ double clip(Polygons& room, const Half& half, double widest)
{
    const double *u = room.u + room.now * room.limit, *v = room.v + room.now * room.limit;
    bool cuts = false;
    for (int corner = 0; corner < room.size; ++corner)
        cuts = cuts || half.a * u[corner] + half.b * v[corner] - half.c > 0;
    if (!cuts) return widest;
    if (room.size == room.limit) return TOO_MANY;  // a cut adds one corner at most
    const int to = (1 - room.now) * room.limit;
    int count = 0;
    double largest = 0.0, last_u = u[room.size - 1], last_v = v[room.size - 1];
    double before = half.a * last_u + half.b * last_v - half.c;
    for (int corner = 0; corner < room.size; ++corner) {
        double this_u = u[corner], this_v = v[corner];
        double at = half.a * this_u + half.b * this_v - half.c;
        bool inside = at < 0;
        if ((before < 0) != inside) {
            double share = before / (before - at);
            double cut_u = last_u + share * (this_u - last_u);
            double cut_v = last_v + share * (this_v - last_v);
            largest = add(room, to, count, cut_u, cut_v, largest);
        }
        if (inside) largest = add(room, to, count, this_u, this_v, largest);
        last_u = this_u, last_v = this_v, before = at;
    }
    room.now = 1 - room.now, room.size = count;
    return largest;
}

// Area, with sign, of the sector of a disc between two directions.
__device__ __forceinline__ double sector(
    double u, double v, double next_u, double next_v, double square)
{
    return square / 2 * atan2(u * next_v - v * next_u, u * next_u + v * next_v);
}

// Area, with sign, that a disc around 0 shares with the triangle of 0 and an edge.
__device__ double within_sector(double u, double v, double next_u, double next_v, double square)
{
    double along_u = next_u - u, along_v = next_v - v;
    double length = along_u * along_u + along_v * along_v;
    double half = u * along_u + v * along_v;
    double root = half * half - length * (u * u + v * v - square);
    if (root <= 0 || length == 0) return sector(u, v, next_u, next_v, square);
    root = sqrt(root);
    // Where on the edge it enters the disc and leaves it.
    double enters = (-half - root) / length, leaves = (-half + root) / length;
    if (leaves <= 0 || enters >= 1) return sector(u, v, next_u, next_v, square);
    enters = max(enters, 0.0), leaves = min(leaves, 1.0);
    double in_u = u + enters * along_u, in_v = v + enters * along_v;
    double out_u = u + leaves * along_u, out_v = v + leaves * along_v;
    double area = (in_u * out_v - in_v * out_u) / 2;
    if (enters > 0) area += sector(u, v, in_u, in_v, square);
    if (leaves < 1) area += sector(out_u, out_v, next_u, next_v, square);
    return area;
}

// Area of the part of the polygon within a disc around 0.
__device__ double within_disc(const Polygons& room, double square)
{
    const double *u = room.u + room.now * room.limit, *v = room.v + room.now * room.limit;
    double area = 0.0;
    bool inside = true;
    for (int corner = 0, last = room.size - 1; corner < room.size; last = corner++) {
        area += u[last] * v[corner] - v[last] * u[corner];
        inside = inside && u[corner] * u[corner] + v[corner] * v[corner] <= square;
    }
    if (inside) return area / 2;
    area = 0.0;
    for (int corner = 0, last = room.size - 1; corner < room.size; last = corner++)
        area += within_sector(u[last], v[last], u[corner], v[corner], square);
    return area;
}

// The first particle from `s` on that may cut off some of a polygon within sqrt(widest) of 0, `count`
// if none does. A loop of its own: the threads of a warp search together, and cut together.
__device__ __forceinline__ int next_to_cut(
    const Around* around, int count, int s, int place, const double* normal, double square,
    double widest)
{
    const double d = around[place].apart;
    const double reach = 4 * min(widest, square) + d * d;
    for (; s < count; ++s) {
        const Around k = around[s];
        if (k.apart * k.apart >= reach) return count;
        if (s == place) continue;
        double along = k.x * normal[0] + k.y * normal[1] + k.z * normal[2];
        double c = (k.apart * k.apart - d * along) / 2;
        // Points u, v of the plane with a u + b v > c are nearer to k than to both.
        if (!(c > 0 && c * c >= widest * (k.apart * k.apart - along * along))) return s;
    }
    return count;
}

// Area of the facet between a particle and the one at `place` of those around it, nearest first,
// within `reach` of both; TOO_MANY if the memory does not hold its corners.
__device__ double facet_area(
    const Around* around, int count, int place, double reach, Polygons& room)
{
    const Around other = around[place];
    double d = other.apart;
    double square = reach * reach - d * d / 4;  // of the radius of the disc that a facet can fill
    if (square <= 0) return 0.0;
    double normal[3] = {other.x / d, other.y / d, other.z / d};
    if (closed(around, count, d, normal, square)) return 0.0;
    const Axes axes = across(normal[0], normal[1], normal[2]);
    double widest = 2 * square;
    begin(room, sqrt(square));
    int s = -1;
    while ((s = next_to_cut(around, count, s + 1, place, normal, square, widest)) < count) {
        const Around k = around[s];
        double a = k.x * axes.first[0] + k.y * axes.first[1] + k.z * axes.first[2];
        double b = k.x * axes.second[0] + k.y * axes.second[1] + k.z * axes.second[2];
        double along = k.x * normal[0] + k.y * normal[1] + k.z * normal[2];
        widest = clip(room, {a, b, (k.apart * k.apart - d * along) / 2}, widest);
        if (widest == TOO_MANY) return TOO_MANY;
        if (room.size < 3) return 0.0;
    }
    return max(within_disc(room, square), 0.0);
}
