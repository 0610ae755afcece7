"""A small ray caster for spheres and rods: exact depth at every pixel, soft shading.

Each primitive is intersected with the rays of the pixels its bounding box covers; a depth buffer
keeps the nearest hit. Points and lengths share one unit, colours are RGB in [0, 1].
"""

from dataclasses import dataclass

import numpy as np

_LIGHT = np.array([-0.45, 0.75, 0.75])  # right, up, towards the viewer
_LIGHT /= np.linalg.norm(_LIGHT)
_FAR_VEIL = 0.5  # share of white over the farthest surfaces: depth can be read off the picture


@dataclass(frozen=True)
class Camera:
    """Perspective camera at ``position``, looking at ``target``; ``view``: vertical degrees."""

    position: np.ndarray
    target: np.ndarray
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    view: float = 23.2

    def axes(self) -> np.ndarray:
        """Unit vectors to the right, up and towards the viewer, [3, 3]."""
        back = np.subtract(self.position, self.target, dtype=np.float64)
        back /= np.linalg.norm(back)
        right = np.cross(self.up, back)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(back, right), back])


@dataclass(frozen=True)
class Scene:
    """What is drawn: spheres and rods with round ends.

    ``centres`` [N, 3], ``radii`` [N], ``colours`` [N, 3]; ``starts`` and ``ends`` [M, 3],
    ``rod_radii`` [M], ``rod_colours`` [M, 3].
    """

    centres: np.ndarray
    radii: np.ndarray
    colours: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    rod_radii: np.ndarray
    rod_colours: np.ndarray


def render(scene: Scene, camera: Camera, pixels: int, supersampling: int = 3) -> np.ndarray:
    """Square picture of a scene on white, uint8 [pixels, pixels, 3].

    ``supersampling``^2 rays are averaged in each pixel.
    """
    buffer = _Buffer(camera, pixels * supersampling)
    for centre, radius, colour in zip(scene.centres, scene.radii, scene.colours, strict=True):
        buffer.add_sphere(np.asarray(centre, dtype=np.float64), float(radius), colour)
    rods = (scene.starts, scene.ends, scene.rod_radii, scene.rod_colours)
    for start, end, radius, colour in zip(*rods, strict=True):
        buffer.add_rod(
            np.asarray(start, dtype=np.float64),
            np.asarray(end, dtype=np.float64),
            float(radius),
            colour,
        )
    shaded = buffer.shaded()
    blocks = shaded.reshape(pixels, supersampling, pixels, supersampling, 3)
    return np.round(255 * blocks.mean(axis=(1, 3))).astype(np.uint8)


class _Buffer:
    """Nearest hit of every ray: depth, normal (camera axes) and colour."""

    def __init__(self, camera: Camera, size: int):
        self._origin = np.asarray(camera.position, dtype=np.float64)
        self._axes = camera.axes()
        self._size = size
        self._slope = np.tan(np.radians(camera.view) / 2)
        self._depth = np.full((size, size), np.inf, dtype=np.float32)
        self._normal = np.zeros((size, size, 3), dtype=np.float32)
        self._colour = np.ones((size, size, 3), dtype=np.float32)
        place = (np.arange(size) + 0.5) / size * 2 - 1
        self._x, self._y = place * self._slope, -place * self._slope  # row 0 is the top

    def add_sphere(self, centre: np.ndarray, radius: float, colour: np.ndarray) -> None:
        centre = self._axes @ (centre - self._origin)
        window, rays = self._rays(centre[np.newaxis], radius)
        if rays is None:
            return
        along = rays @ centre
        squared = along**2 - centre @ centre + radius**2
        depth = np.where(squared >= 0, along - np.sqrt(np.maximum(squared, 0)), np.inf)
        self._keep(window, rays, depth, lambda hit: (hit - centre) / radius, colour)

    def add_rod(
        self, start: np.ndarray, end: np.ndarray, radius: float, colour: np.ndarray
    ) -> None:
        ends = np.stack([start, end]) @ self._axes.T - self._axes @ self._origin
        start, axis = ends[0], ends[1] - ends[0]
        window, rays = self._rays(ends, radius)
        if rays is None:
            return
        length2 = axis @ axis
        # Side: distance of a point t * ray to the axis line equals the radius.
        ray_axis, start_axis = rays @ axis, start @ axis
        a = length2 - ray_axis**2
        b = length2 * (rays @ start) - start_axis * ray_axis
        c = length2 * (start @ start - radius**2) - start_axis**2
        squared = b**2 - a * c
        safe = np.where(a > 1e-12, a, 1.0)
        side = (b - np.sqrt(np.maximum(squared, 0))) / safe
        place = side * ray_axis - start_axis
        on_side = (squared >= 0) & (a > 1e-12) & (place > 0) & (place < length2)
        depth = np.where(on_side, side, np.inf)
        for cap in ends:
            along = rays @ cap
            squared = along**2 - cap @ cap + radius**2
            hit = np.where(squared >= 0, along - np.sqrt(np.maximum(squared, 0)), np.inf)
            depth = np.minimum(depth, hit)

        def normal(hit: np.ndarray) -> np.ndarray:
            share = np.clip((hit - start) @ axis / length2, 0, 1)[:, np.newaxis]
            return (hit - start - share * axis) / radius

        self._keep(window, rays, depth, normal, colour)

    def _rays(self, centres: np.ndarray, radius: float):
        """Window of the picture that spheres around ``centres`` can cover, and its unit rays."""
        corners = np.array(np.meshgrid(*[(-radius, radius)] * 3)).reshape(3, -1).T
        points = (centres[:, np.newaxis] + corners).reshape(-1, 3)
        if (points[:, 2] > -1e-6).any():
            return None, None  # behind the viewer, or around it
        across = points[:, :2] / -points[:, 2:] / self._slope
        columns = (across[:, 0] + 1) / 2 * self._size
        rows = (1 - across[:, 1]) / 2 * self._size
        limits = [
            (max(0, int(np.floor(v.min()))), min(self._size, int(np.ceil(v.max())) + 1))
            for v in (rows, columns)
        ]
        if any(low >= high for low, high in limits):
            return None, None
        window = tuple(slice(*limit) for limit in limits)
        x, y = np.meshgrid(self._x[window[1]], self._y[window[0]])
        rays = np.stack([x, y, np.full_like(x, -1.0)], axis=-1)
        return window, rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def _keep(self, window, rays, depth, normal, colour) -> None:
        nearer = depth < self._depth[window]
        hit = depth[nearer][:, np.newaxis] * rays[nearer]
        self._depth[window][nearer] = depth[nearer]
        self._normal[window][nearer] = normal(hit)
        self._colour[window][nearer] = colour

    def shaded(self) -> np.ndarray:
        """Sky and key light with a soft highlight, dark rims, and a veil that grows with depth."""
        seen = np.isfinite(self._depth)
        picture = np.ones_like(self._colour)
        if not seen.any():
            return picture
        normal, depth = self._normal[seen], self._depth[seen]
        rows, columns = np.nonzero(seen)
        view = -np.stack([self._x[columns], self._y[rows], np.full(len(rows), -1.0)], axis=1)
        view = (view / np.linalg.norm(view, axis=1, keepdims=True)).astype(np.float32)
        facing = np.clip((normal * view).sum(axis=1), 0, 1)
        lambert = np.clip(normal @ _LIGHT.astype(np.float32), 0, 1)
        sky = 0.5 + 0.5 * normal[:, 1]
        halfway = view + _LIGHT.astype(np.float32)
        halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
        shine = 0.22 * np.clip((normal * halfway).sum(axis=1), 0, 1) ** 40
        light = (0.30 + 0.22 * sky + 0.62 * lambert) * (0.62 + 0.38 * np.sqrt(facing))
        colour = self._colour[seen] * light[:, np.newaxis] + shine[:, np.newaxis]
        veil = _FAR_VEIL * (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        picture[seen] = colour + (1 - colour) * veil[:, np.newaxis]
        return np.clip(picture, 0, 1)
