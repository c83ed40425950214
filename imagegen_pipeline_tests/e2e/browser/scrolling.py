"""How smoothly the gallery scrolls: frames, nodes and memory while a page is moved through."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page

_SCROLL = """async ({ seconds, speed }) => {
  const frames = [];
  let nodes = 0, blank = 0, seen = 0;
  const end = performance.now() + seconds * 1000;
  let last = performance.now();
  await new Promise((done) => {
    const step = (now) => {
      frames.push(now - last);
      scrollBy(0, speed * (now - last) / 1000);
      last = now;
      if (frames.length % 15 === 0) {
        nodes = Math.max(nodes, document.getElementsByTagName("*").length);
        const middle = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
        seen += 1;
        blank += Number(Boolean(middle?.closest(".chunk.away")));
      }
      if (now < end) requestAnimationFrame(step);
      else done();
    };
    requestAnimationFrame(step);
  });
  frames.shift();
  frames.sort((a, b) => a - b);
  return {
    frames: frames.length, longest: frames.at(-1), typical: frames[frames.length >> 1],
    slow: frames[Math.floor(frames.length * 0.99)], nodes, blank: blank / Math.max(1, seen),
    moved: scrollY,
  };
}"""


@dataclass(frozen=True)
class Figures:
    """Milliseconds a frame (longest, 99th of 100, typical), the most nodes, the share of looks
    at the middle of the screen that met a picture not loaded yet, and how far it went (pixels).
    """

    frames: int
    longest: float
    slow: float
    typical: float
    nodes: int
    blank: float
    moved: float

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.frames} frames over {self.moved:,.0f} px: typical {self.typical:.1f} ms, "
            f"99 % under {self.slow:.1f} ms, longest {self.longest:.1f} ms; at most "
            f"{self.nodes:,} nodes; {self.blank:.0%} of looks met a picture not loaded yet"
        )


def scroll_through(page: Page, *, seconds: float = 6.0, speed: float = 3000.0) -> Figures:
    """Scroll down at ``speed`` pixels a second, from where the page is."""
    return Figures(**page.evaluate(_SCROLL, {"seconds": seconds, "speed": speed}))
