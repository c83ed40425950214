"""The values that ComfyUI takes: sizes in pixels, steps, seed, guidance."""

SIZE_STEP, SMALLEST_SIDE, LARGEST_SIDE = 16, 16, 16384
MOST_STEPS = 10000
LARGEST_SEED = 2**64 - 1
MOST_GUIDANCE = 100
