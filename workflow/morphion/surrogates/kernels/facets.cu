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
    double widest;  // the largest square of their distances from 0
};

// Half-plane a u + b v <= c.
struct Half {
    double a, b, c;
};

struct Axes {
    double first[3], second[3];
};

// The plane between two particles at distance d: the direction to the other, and two across.
struct Plane {
    double d, normal[3];
    Axes axes;
};

// Areas of a facet within reach of both particles, and beyond.
struct Facet {
    double within, beyond;
};

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

// Make the first polygon a square around 0.
__device__ __forceinline__ void begin(Polygons& room, double half)
{
    for (int corner = 0; corner < 4; ++corner) {
        room.u[corner] = corner == 1 || corner == 2 ? half : -half;
        room.v[corner] = corner >= 2 ? half : -half;
    }
    room.now = 0, room.size = 4, room.widest = 2 * half * half;
}

// Add a corner; returns the larger of a square distance from 0 and that of the corner.
__device__ __forceinline__ double add(
    Polygons& room, int to, int& count, double u, double v, double largest)
{
    room.u[to + count] = u, room.v[to + count] = v;
    ++count;
    return max(largest, u * u + v * v);
}

// Keep the part of the polygon in a half-plane; false, and nothing changed, if it needs more corners
// than there is memory for.
__device__ bool clip(Polygons& room, const Half& half)
{
    const double *u = room.u + room.now * room.limit, *v = room.v + room.now * room.limit;
    bool cuts = false;
    for (int corner = 0; corner < room.size; ++corner)
        cuts = cuts || half.a * u[corner] + half.b * v[corner] - half.c > 0;
    if (!cuts) return true;
    if (room.size == room.limit) return false;  // a cut adds one corner at most
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
    room.now = 1 - room.now, room.size = count, room.widest = largest;
    return true;
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

// Area of the polygon.
__device__ __forceinline__ double area_of(const Polygons& room)
{
    const double *u = room.u + room.now * room.limit, *v = room.v + room.now * room.limit;
    double area = 0.0;
    for (int corner = 0, last = room.size - 1; corner < room.size; last = corner++)
        area += u[last] * v[corner] - v[last] * u[corner];
    return area / 2;
}

// Area of the part of the polygon within a disc around 0.
__device__ double within_disc(const Polygons& room, double square)
{
    const double *u = room.u + room.now * room.limit, *v = room.v + room.now * room.limit;
    double area = 0.0;
    for (int corner = 0, last = room.size - 1; corner < room.size; last = corner++)
        area += within_sector(u[last], v[last], u[corner], v[corner], square);
    return area;
}

// How far away a particle that cuts off some of a polygon is at most, squared.
__device__ __forceinline__ double square_of_reach(const Polygons& room, double d)
{
    return 4 * room.widest + d * d;
}

// Whether a particle at x, y, z leaves some of a polygon and takes some.
enum class Cuts { nothing, some, all };

__device__ __forceinline__ Cuts cuts(
    const Polygons& room, const Plane& plane, double x, double y, double z)
{
    const double along = x * plane.normal[0] + y * plane.normal[1] + z * plane.normal[2];
    const double square = x * x + y * y + z * z, c = (square - plane.d * along) / 2;
    if (!(c * c >= room.widest * (square - along * along))) return Cuts::some;
    return c > 0 ? Cuts::nothing : Cuts::all;
}

// Cut off what is nearer to a particle at x, y, z; false as of `clip`.
__device__ __forceinline__ bool cut(
    Polygons& room, const Plane& plane, double x, double y, double z)
{
    const double along = x * plane.normal[0] + y * plane.normal[1] + z * plane.normal[2];
    const double square = x * x + y * y + z * z;
    const double *first = plane.axes.first, *second = plane.axes.second;
    // Points u, v of the plane with a u + b v > c are nearer to it than to both.
    const double a = x * first[0] + y * first[1] + z * first[2];
    const double b = x * second[0] + y * second[1] + z * second[2];
    return clip(room, {a, b, (square - plane.d * along) / 2});
}

// The first particle from `s` on that may cut off some of a polygon, `count` if none does. A loop
// of its own: the threads of a warp search together, and cut together.
__device__ __forceinline__ int next_to_cut(
    const Around* around, int count, int s, int place, const Plane& plane, Polygons& room)
{
    const double reach = square_of_reach(room, plane.d);
    for (; s < count; ++s) {
        const Around k = around[s];
        if (k.apart * k.apart >= reach) return count;
        if (s == place) continue;
        const Cuts found = cuts(room, plane, k.x, k.y, k.z);
        if (found == Cuts::all) room.size = 0;
        if (found != Cuts::nothing) return s;
    }
    return count;
}

// Cut off what is nearer to particles, or images of them, that are `least` away or farther.
__device__ bool cut_by_images(
    Polygons& room, const Plane& plane, const Around* measured, int particles, double least,
    double box)
{
    const int shifts = (int)(sqrt(square_of_reach(room, plane.d)) / box + 0.5);
    for (int k = 0; k < particles; ++k) {
        for (int a = -shifts; a <= shifts; ++a) {
            const double x = measured[k].x + a * box;
            if (x * x >= square_of_reach(room, plane.d)) continue;
            for (int b = -shifts; b <= shifts; ++b) {
                const double y = measured[k].y + b * box;
                if (x * x + y * y >= square_of_reach(room, plane.d)) continue;
                for (int c = -shifts; c <= shifts; ++c) {
                    const double z = measured[k].z + c * box, square = x * x + y * y + z * z;
                    if (square < least * least || square >= square_of_reach(room, plane.d))
                        continue;
                    const Cuts found = cuts(room, plane, x, y, z);
                    if (found == Cuts::nothing) continue;
                    if (found == Cuts::all) room.size = 0;
                    else if (!cut(room, plane, x, y, z)) return false;
                    if (room.size < 3) return true;
                }
            }
        }
    }
    return true;
}

// Find the facet between a particle and the one at `place` of those around it, nearest first;
// `measured` are all. False if there is no memory for its corners.
__device__ bool find_facet(
    const Around* around, int count, int place, const Around* measured, int particles,
    double reach, double box, Polygons& room, Facet& facet)
{
    const Around other = around[place];
    const double d = other.apart;
    Plane plane = {d, {other.x / d, other.y / d, other.z / d}, {}};
    plane.axes = across(plane.normal[0], plane.normal[1], plane.normal[2]);
    facet = {0.0, 0.0};
    begin(room, box);  // no cell goes beyond a box around its particle
    int s = -1;
    while ((s = next_to_cut(around, count, s + 1, place, plane, room)) < count) {
        const Around k = around[s];
        if (room.size > 0 && !cut(room, plane, k.x, k.y, k.z)) return false;
        if (room.size < 3) return true;
    }
    if (4 * reach * reach < square_of_reach(room, d)) {
        if (!cut_by_images(room, plane, measured, particles, 2 * reach, box)) return false;
        if (room.size < 3) return true;
    }
    const double whole = max(area_of(room), 0.0), square = reach * reach - d * d / 4;
    facet.within = room.widest <= square ? whole : max(within_disc(room, square), 0.0);
    facet.beyond = max(whole - facet.within, 0.0);
    return true;
}
