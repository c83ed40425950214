"""Writes the samples beside it: the prompt database, the prompt files and the actors.

    python data/make_samples.py [--into FOLDER] [--force]

All texts stand here, written for this project. The same run gives the same contents, and
nothing that exists is overwritten without --force.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from pathlib import Path

WHEN = "2025-09-10 08:00:00"

SCHEMA = """\
CREATE TABLE images (id INTEGER PRIMARY KEY, timestamp TEXT NOT NULL DEFAULT (datetime('now')), original_filename TEXT NOT NULL, original_path TEXT, file_size_bytes INTEGER, upload_url TEXT, uploaded_filename TEXT, uploaded_path TEXT, downloaded_size_bytes INTEGER, processing_time_seconds REAL, status TEXT NOT NULL DEFAULT 'pending', error_message TEXT, descriptive_name TEXT, processed_path TEXT, created_at TEXT NOT NULL DEFAULT (datetime('now')), updated_at TEXT NOT NULL DEFAULT (datetime('now')), origin_image_id INTEGER REFERENCES images(id));
CREATE TABLE prompts (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL REFERENCES images(id), image_prompt TEXT, video_prompt TEXT, refined_video_prompt TEXT, creative_video_prompt_1 TEXT, creative_video_prompt_2 TEXT, creative_video_prompt_3 TEXT, created_at TEXT NOT NULL DEFAULT (datetime('now')), updated_at TEXT NOT NULL DEFAULT (datetime('now')));
CREATE TABLE videos (id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL REFERENCES images(id), prompt_id INTEGER REFERENCES prompts(id), video_filename TEXT, video_path TEXT, prompt_used TEXT, prompt_type TEXT DEFAULT 'base', generation_service TEXT, generation_time_seconds REAL, file_size_bytes INTEGER, status TEXT NOT NULL DEFAULT 'pending', error_message TEXT, created_at TEXT NOT NULL DEFAULT (datetime('now')), metadata TEXT);
"""  # noqa: E501 - as the users' database has them

# The last has no descriptive name: its picture is named after its prompt's id.
IMAGES: list[tuple[str, str | None]] = [
    ("Tide_pool_20250910_080101_311.png", "Tide Pool at Dawn"),
    ("Clay_teapot_20250910_080102_482.png", "Clay Teapot"),
    ("Ferry_bell_20250910_080103_905.jpg", "Ferry Bell"),
    ("Moss_stairway_20250910_080104_127.png", "Moss Stairway"),
    ("Paper_kites_20250910_080105_640.jpg", "Paper Kites"),
    ("Salt_mine_chapel_20250910_080106_258.png", "Salt Mine Chapel"),
    ("Beekeeper_20250910_080107_773.png", "Beekeeper"),
    ("Desert_radio_mast_20250910_080108_019.jpg", "Desert Radio Mast"),
    ("Origami_whale_20250910_080109_564.png", "Origami Whale"),
    ("Night_bakery_20250910_080110_836.png", "Night Bakery"),
    ("Untitled_20250910_080111_402.png", None),
]

# An image's place in the list above, the prompt for its picture, the prompt for its video.
PROMPTS: list[tuple[int, str, str]] = [
    (
        1,
        "A tide pool seen from straight above in the first light, sea anemones like open fans, one "
        "orange starfish clinging to wet basalt, a strip of pink sky mirrored along the top edge. "
        "Vertical composition, macro photograph, crisp water surface.",
        "The water trembles as a small wave arrives; the anemones close one after another.",
    ),
    (
        1,
        "A tide pool at low water as a gouache painting: flat teal shapes, chalky highlights on "
        "the rocks, a hermit crab walking out of the lower left corner. Tall portrait format.",
        "Brush strokes appear in the order in which they were painted.",
    ),
    (
        2,
        "A hand-thrown clay teapot on a tall stack of books, steam rising in one straight thread "
        "to the top of the frame, grey linen wall behind. Portrait orientation, soft window light "
        "from the right, product photograph.",
        "The thread of steam bends once, as if somebody had walked past.",
    ),
    (
        3,
        "The brass bell of an old river ferry, spotted with rain, hanging above a narrow deck "
        "that runs down to the far bank. Fog swallows the middle distance. Vertical framing, 35 "
        "mm film, muted greens.",
        "Rain beads along the bell's rim and drops off; the far bank comes slowly nearer.",
    ),
    (
        4,
        "An endless stone stairway through a cloud forest, every step cushioned with moss, small "
        "copper lamps on the left side only. View from the bottom step upwards, vertical "
        "composition, diffuse morning haze, high detail.",
        "The lamps come on one by one, climbing out of sight.",
    ),
    (
        5,
        "Seven paper kites in a single file climbing over terraced fields, each one larger than "
        "the one below it, their tails knotted together. Woodblock print look, indigo and "
        "persimmon, tall 9:16 sheet with a wide empty sky.",
        "A gust runs down the line of kites from the top to the bottom.",
    ),
    (
        6,
        "A chapel carved inside a salt mine: a pale vault, chandeliers of crystal, a lone visitor "
        "in a yellow coat for scale at the very bottom. Cold blue shadows, warm points of light, "
        "portrait orientation, wide lens held level.",
        "The visitor looks up; the light in the chandeliers travels through the crystal.",
    ),
    (
        7,
        "An elderly beekeeper with a silver beard lifts a frame out of a sky-blue hive, bees "
        "drawn as thin golden arcs around his hat. Editorial illustration, grainy texture, "
        "vertical magazine cover with room for a headline.",
        "The golden arcs tighten into a spiral and loosen again.",
    ),
    (
        8,
        "A rusted radio mast in a salt desert under the Milky Way, guy wires fanning down to the "
        "lower corners, a single caravan with a lit window at its foot. Long exposure, vertical, "
        "sharp stars.",
        "The stars turn slowly around the tip of the mast.",
    ),
    (
        9,
        "A whale folded from a single sheet of washi paper swims upwards between skyscrapers of "
        "stacked cardboard. Visible creases, studio light, shallow depth of field, vertical "
        "diorama photograph.",
        "The paper tail beats twice and the cardboard towers sway.",
    ),
    (
        10,
        "A tiny bakery at three in the morning, the only lit door in a steep alley; the sign says "
        '"Brot & Café" in hand-painted letters. Flour dust in the light, wet cobbles leading up '
        "to it, portrait format, cinematic.",
        "The baker's shadow passes the window and the dust follows it.",
    ),
    (
        11,
        "Concentric rings of dyed sand on a black floor, disturbed by one diagonal line of "
        "footprints from the bottom edge to the top edge. Abstract, seen from above, vertical, "
        "raking light.",
        "Grains roll back into the footprints until the rings are whole.",
    ),
]

# A file's name without its ending, the prompt for its picture, the prompt for its video, and
# where the users' tool had found a picture like it.
FILES: list[tuple[str, str, str, str | None]] = [
    (
        "Heron,_Reeds_20250910_081501_118",
        "A grey heron motionless among reeds that reach past the top of the frame, one ripple "
        "around its legs. Ink wash on rough paper, very tall vertical scroll, seal-red sun low in "
        "the corner.",
        "The heron turns its head by a finger's breadth; the ripple widens and is gone.",
        "https://example.com/pictures/heron.png",
    ),
    (
        "Market_street_(after_rain)_20250910_081502_274",
        "A covered market street after rain, striped awnings dripping, crates of quinces and "
        "leeks, one cyclist far back where the street bends. Vertical street photograph, "
        "reflections, late light.",
        "Drops fall from the awnings in a rhythm; the cyclist rides out of the picture.",
        None,
    ),
    (
        "Clockmaker's_bench_20250910_081503_390",
        "The bench of a clockmaker seen from above: loupe, springs sorted by size, a movement "
        "opened like a flower. It's all brass and dark walnut. Portrait orientation, macro, pool "
        "of lamp light.",
        "The open movement starts to tick and its smallest wheel becomes a blur.",
        None,
    ),
    (
        "Tea_house_20250910_081504_451",
        "A small tea house on stilts, its paper sign reading 茶屋, above a pond of lotus leaves; "
        "a maple branch enters from the left. Late autumn, Ukiyo-e colours, façade in soft "
        "shadow, vertical — with a pale moon at the very top.",
        "A leaf lets go of the branch and takes its time.",
        "https://example.com/pictures/tea_house.png",
    ),
    (
        "Lighthouse_stairs_20250910_081505_562",
        "Looking up the inside of a lighthouse.\n\n"
        "- spiral stairs in white iron, turning clockwise\n"
        "- a keeper with a lantern two turns above us\n"
        "- daylight from the lamp room as a small bright disc\n\n"
        "Vertical composition, strong perspective, cool whites, fine grain.",
        "The lantern climbs one turn; its light slides along the iron.",
        None,
    ),
    (
        "Greenhouse_robot._20250910_081506_608",
        "A gardening robot built from watering cans prunes tomato vines in a tall greenhouse, a "
        "robin on its shoulder. Children's book illustration, gouache and pencil, portrait page, "
        "friendly.",
        "The robin hops from the shoulder to the shears and back.",
        "https://example.com/pictures/greenhouse.png",
    ),
    (
        "Cable_car_20250910_081507_719",
        "A red cable car high above a snowed-in valley, its cable cutting the tall frame from "
        "corner to corner. Passengers only as silhouettes. Minimal poster style, three colours, "
        "vertical.",
        "The car glides along the cable as snow begins to fall.",
        None,
    ),
    (
        "Glassblower_20250910_081508_823",
        "A glassblower around forty with tied-back hair shapes a glowing amphora, sparks frozen "
        "in the dark workshop. Full figure, portrait orientation, warm furnace light, documentary "
        "photograph.",
        "The glowing glass sags, is turned, and finds its shape again.",
        None,
    ),
    (
        "Library_tree_20250910_081509_934",
        "A plane tree grows through all five floors of an old library, ladders leaning on its "
        "branches, readers in the forks. Cutaway drawing, fine ink lines with watercolour, tall "
        "vertical format.",
        "Pages turn on every floor at once, like leaves in the wind.",
        "https://example.com/pictures/library_tree.png",
    ),
    (
        "Night_tram,_Harbour_20250910_081510_045",
        "The last tram waits at a harbour terminus, its yellow windows doubled in the wet quay, "
        "cranes asleep behind it. Blue hour, anamorphic flare, vertical crop with a heavy dark "
        "sky.",
        "The doors close, the tram sinks a little on its springs and leaves.",
        None,
    ),
    (
        "Stone_giant_20250910_081511_156",
        "A mountain that turns out to be a sleeping giant, pine woods for a blanket, a hamlet "
        "with smoking chimneys in the palm of its hand. Epic scale, vertical matte painting, "
        "early mist.",
        "The giant breathes in and the whole wood rises with it.",
        None,
    ),
    (
        "Sunflower_ballet_20250910_081512_267",
        "Five dancers in ochre dresses hold a pose as a sunflower, seen from the balcony above "
        "the stage. Radial pattern, deep shadow outside the spotlight, vertical theatre "
        "photograph, high quality.",
        "The petals open outwards: each dancer takes one step back in turn.",
        None,
    ),
]

ACTORS: dict[str, dict[str, str | int]] = {
    "0101_european_27_male": {
        "description": (
            "european 27 year old male with wavy auburn hair, green eyes and light freckles"
        ),
    },
    "0102_black_41_female": {
        "description": (
            "black 41 year old female with short silver-streaked curls, brown eyes and a tall "
            "slender build"
        ),
        "width": 832,
        "height": 1216,
        "steps": 30,
    },
    "0103_south_american_58_male": {
        "description": (
            "south american 58 year old male with grey moustache, deep laugh lines and a stocky "
            "build"
        ),
        "seed": 20250910,
    },
}


def write_database(path: Path) -> None:
    """The users' three tables with the images and prompts; no videos yet."""
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    try:
        database.executescript(SCHEMA)
        database.executemany(
            "INSERT INTO images (id, timestamp, original_filename, uploaded_filename, status, "
            "descriptive_name, created_at, updated_at) VALUES (?, ?, ?, ?, 'success', ?, ?, ?)",
            [(i, WHEN, file, file, name, WHEN, WHEN) for i, (file, name) in enumerate(IMAGES, 1)],
        )
        database.executemany(
            "INSERT INTO prompts (id, image_id, image_prompt, video_prompt, created_at, "
            "updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            [(i, *prompt, WHEN, WHEN) for i, prompt in enumerate(PROMPTS, 1)],
        )
        database.commit()
    finally:
        database.close()


def prompt_files() -> dict[str, dict[str, str]]:
    """Each prompt file's name and fields, as the users' own tool writes them."""
    files = {}
    for stem, image_prompt, video_prompt, image_url in FILES:
        fields = {
            "pic_name": f"{stem}.png",
            "video_name": f"{stem}.mp4",
            "video_prompt": video_prompt,
            "image_prompt": image_prompt,
        }
        if image_url is not None:
            fields["image_url"] = image_url
        files[f"prompt_json/{stem}.json"] = fields
    return files


def main() -> int:
    """Write all samples; 2 when something is there already and --force was not given."""
    parser = argparse.ArgumentParser(description="Write the sample prompts and actors.")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="the data folder")
    parser.add_argument("--force", action="store_true", help="overwrite samples that exist")
    options = parser.parse_args()
    database: Path = options.into / "llm_video_batch.db"
    actors = {f"actors/{name}/actor.json": facts for name, facts in ACTORS.items()}
    texts = {options.into / name: facts for name, facts in {**prompt_files(), **actors}.items()}
    existing = [path for path in (database, *texts) if path.exists()]
    if existing and not options.force:
        sys.stderr.write(f"{existing[0]} exists: nothing was written. Overwrite with --force.\n")
        return 2
    for path, facts in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    write_database(database)
    sys.stdout.write(f"{len(PROMPTS)} prompts, {len(FILES)} prompt files, {len(ACTORS)} actors.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
