"""Pictures to fill a gallery with: landscapes, skies and portraits, each drawn from a number."""

from __future__ import annotations

import io
import math
import random
from functools import cache

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

_SKIES: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((28, 34, 84), (214, 92, 112), (255, 201, 138)),
    ((12, 52, 92), (86, 168, 196), (240, 226, 188)),
    ((44, 24, 78), (142, 72, 170), (250, 160, 150)),
    ((18, 70, 78), (92, 178, 150), (248, 232, 176)),
    ((92, 42, 40), (226, 120, 62), (255, 220, 150)),
    ((20, 24, 40), (70, 84, 132), (190, 180, 210)),
    ((60, 110, 160), (150, 200, 226), (248, 244, 230)),
    ((84, 30, 66), (206, 70, 108), (255, 186, 164)),
)
_SKINS: tuple[Colour, ...] = ((241, 206, 178), (222, 172, 132), (176, 122, 84), (112, 74, 52))
_HAIR: tuple[Colour, ...] = ((38, 28, 26), (92, 58, 36), (176, 128, 74), (120, 118, 122))
_CLOTHES: tuple[Colour, ...] = (
    *((58, 74, 104), (122, 58, 62), (70, 92, 76), (196, 188, 176)),
    *((42, 42, 48), (150, 112, 70), (94, 70, 120), (48, 104, 118)),
)


@cache
def landscape(number: int, width: int = 540, height: int = 960) -> bytes:
    """A scene as JPEG; the same number is the same one."""
    dice = random.Random(number)  # noqa: S311 - it draws
    image = _sky(dice.choice(_SKIES), width, height)
    (_hills, _city, _space, _sea)[number % 4](image, dice)
    return _jpeg(image)


@cache
def portrait(number: int, width: int = 512, height: int = 768) -> bytes:
    """A person in a studio as JPEG."""
    dice = random.Random(1000 + number)  # noqa: S311
    tone = dice.randint(150, 205)
    image = _gradient((tone, tone - 4, tone - 10), (tone - 60, tone - 62, tone - 66), width, height)
    glow = Image.new("L", image.size, 0)
    ImageDraw.Draw(glow).ellipse((-60, 40, width + 60, height * 0.8), fill=90)
    light = Image.new("RGB", image.size, (255, 250, 240))
    image.paste(light, mask=glow.filter(ImageFilter.GaussianBlur(90)))
    figure = Image.new("RGBA", (width * 2, height * 2), (0, 0, 0, 0))
    _figure(ImageDraw.Draw(figure), dice, width * 2, height * 2)
    figure = figure.resize(image.size, Image.Resampling.LANCZOS)
    shade = Image.new("RGBA", image.size, (20, 18, 20, 255))
    cast = figure.getchannel("A").point(lambda value: value // 3)
    image.paste(shade, (16, 10), cast.filter(ImageFilter.GaussianBlur(14)))
    image.paste(figure, mask=figure)
    return _jpeg(image)


def _jpeg(image: Image.Image) -> bytes:
    grain = Image.effect_noise(image.size, 16).convert("RGB")
    out = io.BytesIO()
    Image.blend(image, grain, 0.02).save(out, "JPEG", quality=82)
    return out.getvalue()


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _gradient(top: Colour, bottom: Colour, width: int, height: int) -> Image.Image:
    column = Image.new("RGB", (1, height))
    for y in range(height):
        column.putpixel((0, y), _mixed(top, bottom, y / height))
    return column.resize((width, height))


def _sky(colours: tuple[Colour, Colour, Colour], width: int, height: int) -> Image.Image:
    top, middle, low = colours
    image, upper = Image.new("RGB", (width, height), low), int(height * 0.36)
    image.paste(_gradient(top, middle, width, upper), (0, 0))
    image.paste(_gradient(middle, low, width, upper), (0, upper))
    return image


def _hills(image: Image.Image, dice: random.Random) -> None:
    width, height = image.size
    x, y, size = dice.uniform(0.25, 0.75) * width, dice.uniform(0.2, 0.42) * height, width * 0.13
    _glow(image, x, y, size, (255, 240, 214))
    far = image.getpixel((0, int(height * 0.55)))
    near = _mixed(_rgb(image.getpixel((0, 0))), (8, 10, 18), 0.6)
    for layer in range(5):
        share = layer / 4
        base = height * (0.5 + 0.11 * layer)
        waves = [(dice.uniform(1, 4) + layer, dice.uniform(0, 6), 0.05 * height) for _ in range(3)]
        points = [(0.0, float(height))]
        for step in range(0, width + 12, 12):
            swing = sum(a * math.sin(f * step / width * 3 + p) for f, p, a in waves)
            points.append((float(step), base + swing / (1 + share)))
        points.append((float(width), float(height)))
        ImageDraw.Draw(image).polygon(points, fill=_mixed(_rgb(far), near, 0.15 + 0.8 * share))


def _rgb(pixel: object) -> Colour:
    assert isinstance(pixel, tuple)
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def _glow(image: Image.Image, x: float, y: float, size: float, colour: Colour) -> None:
    for spread, strength in ((3.2, 60), (1.8, 90), (1.0, 235)):
        mask = Image.new("L", image.size, 0)
        box = (x - size * spread, y - size * spread, x + size * spread, y + size * spread)
        ImageDraw.Draw(mask).ellipse(box, fill=strength)
        blurred = mask.filter(ImageFilter.GaussianBlur(size * (spread - 0.95) / 2))
        image.paste(Image.new("RGB", image.size, colour), mask=blurred)


def _city(image: Image.Image, dice: random.Random) -> None:
    width, height = image.size
    _glow(image, width * dice.uniform(0.2, 0.8), height * 0.3, width * 0.09, (255, 236, 220))
    dark = _mixed(_rgb(image.getpixel((0, 0))), (10, 10, 20), 0.4)
    for layer in range(3):
        draw, x = ImageDraw.Draw(image), -20.0
        colour = _mixed(_rgb(image.getpixel((2, int(height * 0.6)))), dark, 0.4 + 0.3 * layer)
        while x < width:
            wide = dice.uniform(0.07, 0.17) * width
            top = height * (dice.uniform(0.42, 0.66) + 0.1 * layer)
            draw.rectangle((x, top, x + wide, height), fill=colour)
            for row in range(int(top) + 14, height, 22):
                for window in range(int(x) + 7, int(x + wide) - 8, 14):
                    if layer and dice.random() < 0.3:
                        draw.rectangle((window, row, window + 5, row + 9), fill=(255, 214, 140))
            x += wide + dice.uniform(0, 8)


def _space(image: Image.Image, dice: random.Random) -> None:
    width, height = image.size
    image.paste(Image.new("RGB", image.size, (10, 10, 26)), mask=Image.new("L", image.size, 165))
    for _ in range(7):
        mask = Image.new("L", image.size, 0)
        x, y = dice.uniform(0, width), dice.uniform(0, height)
        size = dice.uniform(0.15, 0.4) * width
        ImageDraw.Draw(mask).ellipse((x - size, y - size * 1.4, x + size, y + size * 1.4), fill=120)
        colour = dice.choice(dice.choice(_SKIES)[1:])
        cloud = mask.filter(ImageFilter.GaussianBlur(size * 0.5))
        image.paste(Image.new("RGB", image.size, colour), mask=cloud)
    draw = ImageDraw.Draw(image)
    for _ in range(260):
        x, y, size = dice.uniform(0, width), dice.uniform(0, height), dice.choice((1, 1, 1, 2, 3))
        draw.ellipse((x, y, x + size, y + size), fill=(255, 255, dice.randint(210, 255)))
    size, x, y = width * dice.uniform(0.2, 0.33), width * 0.5, height * dice.uniform(0.3, 0.65)
    planet = _gradient(*dice.choice(_SKIES)[:2], int(size * 2), int(size * 2)).rotate(35)
    disc = Image.new("L", planet.size, 0)
    ImageDraw.Draw(disc).ellipse((0, 0, *planet.size), fill=255)
    image.paste(planet, (int(x - size), int(y - size)), disc.filter(ImageFilter.GaussianBlur(1.5)))


def _sea(image: Image.Image, dice: random.Random) -> None:
    width, height = image.size
    line, x = height * 0.58, width * dice.uniform(0.3, 0.7)
    _glow(image, x, line - width * 0.16, width * 0.12, (255, 232, 196))
    mirrored = image.crop((0, 0, width, int(line))).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    below = mirrored.filter(ImageFilter.GaussianBlur(7))
    image.paste(below, (0, int(line)))
    draw = ImageDraw.Draw(image, "RGBA")
    draw.rectangle((0, line, width, height), fill=(10, 24, 44, 90))
    for _ in range(150):
        depth = dice.random()
        y, wide = line + 4 + depth**1.6 * (height - line), 8 + 90 * depth * dice.random()
        left = dice.gauss(x, 40 + 190 * depth) - wide / 2
        draw.ellipse((left, y, left + wide, y + 1 + 3 * depth), fill=(255, 236, 206, 70))


def _figure(draw: ImageDraw.ImageDraw, dice: random.Random, width: int, height: int) -> None:
    """A standing figure: legs, body, arms, neck, head and hair."""
    skin, hair, top, legs = (dice.choice(a) for a in (_SKINS, _HAIR, _CLOTHES, _CLOTHES))
    x, head, build = width / 2, height * 0.062, dice.uniform(0.86, 1.12)
    neck, hip, foot = height * 0.235, height * 0.56, height * 0.94
    shoulder, waist = width * 0.165 * build, width * 0.115 * build
    long_hair = dice.random() < 0.5
    if long_hair:
        box = (x - head * 1.15, neck - head * 2.7, x + head * 1.15, neck + head * 1.1)
        draw.rounded_rectangle(box, head, fill=hair)
    for side in (-1, 1):
        thigh, ankle = x + side * waist * 0.52, x + side * waist * 0.62
        leg = [(thigh - waist * 0.5, hip - 30), (thigh + waist * 0.5, hip - 30)]
        leg += [(ankle + waist * 0.3, foot - 20), (ankle - waist * 0.3, foot - 20)]
        draw.polygon(leg, fill=legs)
        shoe = (ankle - waist * 0.42, foot - 40, ankle + waist * 0.42, foot + 6)
        draw.rounded_rectangle(shoe, 18, fill=(38, 34, 34))
        hand = x + side * (shoulder + width * 0.035)
        draw.line([(x + side * shoulder * 0.9, neck + 44), (hand, hip - 10)], fill=top, width=58)
        draw.ellipse((hand - 27, hip - 30, hand + 27, hip + 36), fill=skin)
    draw.rounded_rectangle((x - shoulder, neck + 8, x + shoulder, neck + 130), 62, fill=top)
    body = [(x - shoulder, neck + 70), (x + shoulder, neck + 70)]
    body += [(x + waist, hip), (x - waist, hip)]
    draw.polygon(body, fill=top)
    shade = _mixed(skin, (60, 30, 20), 0.18)
    draw.rounded_rectangle((x - 30, neck - head * 0.7, x + 30, neck + 34), 20, fill=shade)
    face = (x - head * 0.82, neck - head * 2.5, x + head * 0.82, neck - head * 0.3)
    draw.ellipse(face, fill=skin)
    crown = (x - head * 0.9, neck - head * 2.7, x + head * 0.9, neck - head * 1.0)
    draw.pieslice(crown, 178, 362, fill=hair)
