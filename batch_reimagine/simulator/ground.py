"""Finding the plain ground a product was photographed on, by its colour and its place.

A soft mask, and no more than it takes: no model, no segmentation, a few milliseconds.
"""

from typing import Final, TypeAlias

from PIL import Image, ImageChops, ImageFilter, ImageStat

Colour: TypeAlias = tuple[int, int, int]

_MASK_PX: Final = 96  # the backdrop is found on a picture of this size: enough, and cheap
_LEAST_LIGHT: Final = 120  # levels; a darker ground cannot take a new colour
# Where a likeness to the ground begins to fall and where it ends, in levels of 255.
_OFF_HUE_LEVELS: Final = (14, 30)
_SHADOW_LEVELS: Final = (96, 140)
_SAME_LEVELS: Final = (5, 14)


def ground_colour(rgb: Image.Image) -> Colour:
    """The colour that most of the border has: the median, channel by channel."""
    width, height = rgb.size
    depth = max(1, min(rgb.size) // 50)
    frame = Image.new("L", rgb.size, 255)
    if min(rgb.size) > 2 * depth:
        frame.paste(0, (depth, depth, width - depth, height - depth))
    red, green, blue = ImageStat.Stat(rgb, frame).median
    return int(red), int(green), int(blue)


def ground_mask(rgb: Image.Image, ground: Colour) -> Image.Image:
    """255 where the plain ground shows; all 0 where the border is no plain light ground."""
    if min(ground) < _LEAST_LIGHT:
        return Image.new("L", rgb.size, 0)
    alike = _likeness(rgb, ground)
    scale = min(1.0, _MASK_PX / max(rgb.size))
    size = max(3, round(rgb.width * scale)), max(3, round(rgb.height * scale))
    wall = alike.resize(size, Image.Resampling.BOX).point(lambda level: 255 * (level > 127))  # noqa: PLR2004  half
    reached = Image.new("L", size)
    reached.paste(wall)
    reached.paste(0, (1, 1, size[0] - 1, size[1] - 1))
    if ImageStat.Stat(reached).sum[0] < 0.5 * 255 * 2 * sum(size):  # of the border
        return Image.new("L", rgb.size, 0)
    # Grow from the border through what is alike: grey inside the product stays the product's.
    for _ in range(2 * _MASK_PX):
        grown = ImageChops.darker(reached.filter(ImageFilter.MaxFilter(5)), wall)
        if ImageChops.difference(grown, reached).getbbox() is None:
            break
        reached = grown
    near = reached.filter(ImageFilter.MaxFilter(3)).resize(rgb.size, Image.Resampling.BILINEAR)
    # What is ground to the letter may lie within a handle.
    off = ImageChops.difference(rgb, Image.new("RGB", rgb.size, ground)).convert("L")
    return ImageChops.lighter(ImageChops.darker(alike, near), _falling(off, *_SAME_LEVELS))


def _likeness(rgb: Image.Image, ground: Colour) -> Image.Image:
    """255 where a pixel is ground, lit or in shadow; 0 where it is another colour or dark."""
    solid = Image.new("RGB", rgb.size, ground)
    red, green, blue = ImageChops.subtract(solid, rgb).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    off_hue = _falling(ImageChops.subtract(most, least), *_OFF_HUE_LEVELS)
    red, green, blue = ImageChops.subtract(rgb, solid).split()
    brighter = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    shadow = ImageChops.darker(_falling(most, *_SHADOW_LEVELS), off_hue)
    return ImageChops.darker(shadow, _falling(brighter, *_OFF_HUE_LEVELS))


def _falling(levels: Image.Image, start: int, end: int) -> Image.Image:
    """255 up to level `start`, then evenly down to 0 at `end`."""
    return levels.point(lambda level: max(0, min(255, 255 * (end - level) // (end - start))))
