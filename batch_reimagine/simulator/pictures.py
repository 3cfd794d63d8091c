"""Variations of a photo by plain image processing: no generative model is at work here.

They stand in for the service's pictures: each is visibly another take on the same product, in other
light, before another backdrop, from another side. Every file says so in its metadata.

Rule 1: a recipe is data; `vary` is the one way to follow it.
Rule 2: CPU only, on decoded pixels; call it in a worker thread.
"""

import io
import math
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from PIL import Image, ImageChops, ImageEnhance, ImageStat
from PIL.PngImagePlugin import PngInfo

from batch_reimagine.simulator.ground import Colour, ground_colour, ground_mask

NOTE: Final = "Simulated: no generative model"

_Matrix: TypeAlias = tuple[tuple[float, ...], ...]

_WHITE: Final = (255, 255, 255)
_LUMA: Final = (0.2126, 0.7152, 0.0722)
_LEAST_GROUND: Final = 0.12  # of the picture; with less it is a scene, not a product alone
_LIFT: Final = 1.04
_IMAGE_DESCRIPTION: Final = 0x010E  # EXIF


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One take; the backdrop's colours run from top to bottom, light is 1.0 where it is neutral."""

    backdrop: tuple[Colour, Colour]
    mirror: bool = False
    zoom: float = 1.0
    turn_deg: float = 0.0
    hue_deg: float = 0.0
    saturation: float = 1.0
    warmth: float = 0.0
    contrast: float = 1.0
    brightness: float = 1.0
    vignette: float = 0.0


#: Neighbours differ the most, so that any four in a row are four different pictures.
RECIPES: Final = (
    Recipe(  # terracotta at noon
        backdrop=((250, 222, 200), (226, 160, 122)),
        mirror=True,
        warmth=0.07,
        contrast=1.06,
    ),
    Recipe(  # another colour, on sage
        backdrop=((226, 236, 222), (150, 180, 156)),
        hue_deg=140,
        zoom=0.9,
        turn_deg=-5,
    ),
    Recipe(  # close, in evening light
        backdrop=((168, 176, 200), (92, 100, 136)),
        zoom=1.3,
        warmth=-0.06,
        contrast=1.08,
        vignette=0.35,
    ),
    Recipe(  # another colour, on rose
        backdrop=((252, 228, 232), (236, 168, 182)),
        mirror=True,
        hue_deg=-100,
        turn_deg=6,
        zoom=0.94,
    ),
    Recipe(  # black and white, a print
        backdrop=((244, 240, 230), (206, 198, 182)),
        saturation=0.0,
        warmth=0.05,
        contrast=1.22,
        zoom=1.1,
    ),
    Recipe(  # high noon on sunflower
        backdrop=((255, 236, 168), (246, 196, 84)),
        mirror=True,
        saturation=1.35,
        zoom=0.82,
        turn_deg=3,
    ),
    Recipe(  # cool studio
        backdrop=((224, 238, 250), (134, 176, 214)),
        hue_deg=60,
        warmth=-0.08,
        turn_deg=-8,
    ),
)


def vary(photo: Image.Image, nth: int, chance: Random) -> Image.Image:
    """The nth variation of a photo, of its size and mode: recipes in turn, each a little by chance.

    photo: RGB or RGBA; it is not changed. A transparent ground stays transparent.
    """
    recipe = RECIPES[nth % len(RECIPES)]
    rgb, alpha = photo.convert("RGB"), None
    ground = _WHITE
    if photo.mode == "RGBA":
        alpha = photo.getchannel("A")
        nothing = alpha.point(lambda level: 255 * (level == 0))
        rgb.paste(_WHITE, mask=nothing)  # the colour of what cannot be seen is noise
        mask = ImageChops.invert(alpha)
    else:
        ground = ground_colour(rgb)
        mask = ground_mask(rgb, ground)
    plain = ImageStat.Stat(mask).mean[0] > _LEAST_GROUND * 255

    rgb, mask = _turn(rgb, mask, recipe, chance, ground if plain else None)
    product = _relight(rgb, recipe, chance, plain=plain)
    if not plain:
        graded = _tone(product, recipe, 0.55)
    elif alpha is not None:
        graded = _tone(product, recipe, 0.5)  # no ground to colour: the light does it all
    else:
        graded = _set(product, rgb=rgb, mask=mask, recipe=recipe, chance=chance, ground=ground)
    if recipe.vignette and alpha is None:
        graded = _vignette(graded, recipe.vignette)
    if alpha is not None:
        graded.putalpha(ImageChops.invert(mask))
    return graded


def _turn(
    rgb: Image.Image, mask: Image.Image, recipe: Recipe, chance: Random, ground: Colour | None
) -> tuple[Image.Image, Image.Image]:
    """Mirror, turn and zoom about a point near the middle; what comes in from outside is ground.

    ground: None for a scene without one, which is then enlarged until no corner shows.
    """
    angle = math.radians(recipe.turn_deg + chance.uniform(-1.2, 1.2))
    zoom = recipe.zoom * chance.uniform(0.97, 1.04)
    width, height = rgb.size
    if ground is None:
        ratio = max(width, height) / min(width, height)
        zoom = max(zoom, 1.06) * (math.cos(angle) + ratio * abs(math.sin(angle)))
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    flip = -1 if recipe.mirror else 1
    middle_x, middle_y = width / 2, height / 2
    room = max(0.0, 1 - 1 / zoom) / 2 if ground is None else 0.02
    from_x = middle_x + chance.uniform(-room, room) * width * 0.3
    from_y = middle_y + chance.uniform(-room, room) * height * 0.3
    a, b, d, e = flip * cos, sin, -flip * sin, cos
    matrix = (
        a,
        b,
        from_x - a * middle_x - b * middle_y,
        d,
        e,
        from_y - d * middle_x - e * middle_y,
    )
    bicubic = Image.Resampling.BICUBIC
    affine = Image.Transform.AFFINE
    turned = rgb.transform(rgb.size, affine, matrix, bicubic, fillcolor=ground or _WHITE)
    outside = 0 if ground is None else 255
    return turned, mask.transform(rgb.size, affine, matrix, bicubic, fillcolor=outside)


def _relight(rgb: Image.Image, recipe: Recipe, chance: Random, *, plain: bool) -> Image.Image:
    """Other light and colour; a scene keeps its hues nearly, lest skin and sky turn odd."""
    hue_deg = (recipe.hue_deg if plain else recipe.hue_deg * 0.12) + chance.uniform(-8, 8)
    warmth = recipe.warmth + chance.uniform(-0.02, 0.02)
    red, green, blue = _hue_matrix(hue_deg, recipe.saturation)
    gains = (1 + warmth, 1.0, 1 - warmth)
    rows = zip((red, green, blue), gains, strict=True)
    matrix = tuple(value * gain for row, gain in rows for value in (*row, 0.0))
    lit = ImageEnhance.Contrast(rgb.convert("RGB", matrix)).enhance(recipe.contrast)
    return ImageEnhance.Brightness(lit).enhance(recipe.brightness * chance.uniform(0.97, 1.03))


def _hue_matrix(hue_deg: float, saturation: float) -> _Matrix:
    """Turn hues about the grey axis and scale their strength; greys keep their lightness.

    Source: the W3C filter effects' feColorMatrix, types hueRotate and saturate.
    """
    cos = saturation * math.cos(math.radians(hue_deg))
    sin = saturation * math.sin(math.radians(hue_deg))
    red, green, blue = _LUMA
    return (
        (
            red + cos * (1 - red) - sin * red,
            green - cos * green - sin * green,
            blue - cos * blue + sin * (1 - blue),
        ),
        (
            red - cos * red + sin * 0.143,
            green + cos * (1 - green) + sin * 0.140,
            blue - cos * blue - sin * 0.283,
        ),
        (
            red - cos * red - sin * (1 - red),
            green - cos * green + sin * green,
            blue + cos * (1 - blue) + sin * blue,
        ),
    )


def _set(
    product: Image.Image,
    *,
    rgb: Image.Image,
    mask: Image.Image,
    recipe: Recipe,
    chance: Random,
    ground: Colour,
) -> Image.Image:
    """Put the product before the recipe's backdrop; its own shadow falls there too."""
    backdrop = _gradient(rgb.size, recipe.backdrop, chance)
    # Divided by the ground's colour only the shadow is left, and the backdrop takes it. The lift
    # clears a photo's own fall-off of light, whose edge would show where the picture is turned.
    shadow = rgb.convert(
        "RGB",
        tuple(
            _LIFT * 255 / max(1, ground[row]) if row == column else 0.0
            for row in range(3)
            for column in range(4)
        ),
    )
    set_up = Image.composite(ImageChops.multiply(backdrop, shadow), product, mask)
    # A little of the backdrop's colour comes back onto the product, as it does in a room.
    return Image.blend(set_up, ImageChops.multiply(set_up, backdrop), 0.12)


def _tone(scene: Image.Image, recipe: Recipe, share: float) -> Image.Image:
    """Colour a scene's light as the recipe's backdrop would, its highlights first."""
    wash = _gradient(scene.size, recipe.backdrop, Random(0))
    return Image.blend(scene, ImageChops.multiply(scene, wash), share)


def _gradient(size: tuple[int, int], colours: tuple[Colour, Colour], chance: Random) -> Image.Image:
    top, bottom = (
        tuple(max(0, min(255, level + chance.randint(-8, 8))) for level in colour)
        for colour in colours
    )
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


def _vignette(image: Image.Image, depth: float) -> Image.Image:
    """Darken towards the corners, by `depth` at the most."""
    falloff = Image.radial_gradient("L").resize(image.size)
    shade = falloff.point(lambda level: int(255 * (1 - depth * (level / 255) ** 2)))
    return ImageChops.multiply(image, Image.merge("RGB", (shade, shade, shade)))


def encode(image: Image.Image, image_type: str, task_id: str) -> bytes:
    """The picture as a file that says what it is and whose; JPEG on white where it is transparent.

    The task's id makes any two files differ, whatever their pixels.
    """
    note = f"{NOTE}; task {task_id}"
    buffer = io.BytesIO()
    match image_type:
        case "jpeg":
            if image.mode == "RGBA":
                white = Image.new("RGB", image.size, _WHITE)
                white.paste(image, mask=image.getchannel("A"))
                image = white
            image.save(buffer, "JPEG", quality=90, comment=note)
        case "webp":
            exif = Image.Exif()
            exif[_IMAGE_DESCRIPTION] = note
            image.save(buffer, "WEBP", quality=88, method=1, exif=exif)
        case _:
            info = PngInfo()
            info.add_text("Comment", note)
            image.save(buffer, "PNG", compress_level=1, pnginfo=info)
    return buffer.getvalue()
