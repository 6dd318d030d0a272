"""Numbers and colours for drawn images, all from one random generator."""

import string
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Colour = Float[np.ndarray, "3"]  # in [0, 255]
Ink = tuple[int, int, int]

CHARACTERS = string.ascii_letters + string.digits + ".,:;!?-+/()%&@#=*"
WHITE = 255.0


def to_ink(colour: Colour) -> Ink:
    red, green, blue = colour.round().astype(int).tolist()
    return red, green, blue


@dataclass(frozen=True)
class Brush:
    """Draws numbers and colours for one image; a grey brush draws greys alone."""

    rng: np.random.Generator
    grey: bool

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, max(high, low) + 1))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def dark(self) -> Colour:
        return np.full(3, self.whole(0, 1) * self.whole(0, 40), np.float32)

    def light(self) -> Colour:
        return WHITE - self.dark()

    def colour(self) -> Colour:
        """Draw one colour: a primary or a mixed one, a random, a pale or a nearly grey one; or a grey."""
        choice = self.whole(0, 5)
        if self.grey:
            value = (0, WHITE, 128, self.between(112, 144), self.between(0, WHITE), self.between(0, WHITE))[choice]
            return np.full(3, value, np.float32)
        if choice < 2:
            corner = self.whole(1, 6)  # of the colour cube, without black and white
            colour = np.array([WHITE * (corner >> i & 1) for i in range(3)])
            return np.abs(colour - self.whole(0, 1) * self.between(0, 60)).astype(np.float32)
        colour = self.rng.uniform(0, WHITE, 3)
        if choice == 4:
            colour = WHITE - (WHITE - colour) * self.between(0.1, 0.5)
        if choice == 5:
            colour = np.clip(self.between(0, WHITE) + self.rng.normal(0, 8, 3), 0, WHITE)
        return colour.astype(np.float32)

    def pair(self) -> tuple[Colour, Colour]:
        """Draw two colours that differ by 4 levels at least.

        They are black and white or nearly, one of these and another, two opposites around mid-grey, two close ones, or
        any two, in either order.
        """
        while True:
            first, choice = self.colour(), self.whole(0, 5)
            second = self.colour()
            if choice == 0:
                first, second = self.dark(), self.light()
            elif choice == 1:
                second = self.light() if self.chance(0.5) else self.dark()
            elif choice == 2:
                second = WHITE - first  # The mean of the two is grey, whatever the colour.
            elif choice == 3:
                second = first + self.between(4, 40) * np.where(first < WHITE / 2, 1, -1)
            if np.abs(first - second).max() >= 4:
                return (first, second) if self.chance(0.5) else (second, first)

    def palette(self, count: int) -> Float[np.ndarray, "count 3"]:
        return np.stack([self.colour() for _ in range(count)])

    def ink(self) -> Ink:
        return to_ink(self.colour())

    def paper(self) -> Ink:
        """Draw a colour for the ground of a screen, which is light or dark more often than coloured."""
        choice = self.whole(0, 3)
        return to_ink(self.light() if choice < 2 else self.dark() if choice == 2 else self.colour())

    def text(self, low: int, high: int) -> str:
        """Draw words of random characters, ``low`` to ``high`` characters in all."""
        letters = self.rng.choice(list(CHARACTERS), self.whole(low, high))
        letters[self.rng.random(len(letters)) < 0.15] = " "
        return "".join(letters)
