"""Budgets of a model on a board, at any context, and what to change where it does not fit."""

from __future__ import annotations

from copy import copy

from ..compile.figures import Figures
from ..device import program, sound
from ..errors import Error
from .budget import Budget, packs
from .footprint import Footprint, copied, footprint, resized
from .profiles import Profile
from .runtime import SPARE, has_added, runtime_bytes
from .speed import milliseconds, speed

# Narrower caches, by what they lose: bits of keys and values.
NARROWER = (8, 8), (8, 4)
TEXT = 16  # tokens of a text that is timed


class Plans:
    """Budgets of one model on one board. data: the bytes of its file, which is sound."""

    def __init__(self, model: Figures, data: bytes, board: Profile) -> None:
        self.model = model
        self.data = data
        self.board = board
        self._loaded: dict[str, Footprint] = {}  # at the file's context, by the weights' place
        at = int.from_bytes(data[68:72], "little")
        self.tokenizer = data[at : at + 8]  # what begins its section
        self._modules = self._rare()
        n = model.input_bytes
        # An image or a signal, if it reads one: the caller has it, or the server.
        self._given = [board.layout.blocks(n)] if n else []

    def _footprint(self, context: int, weights: str) -> Footprint:
        layout = self.board.layout
        if weights not in self._loaded:
            m = self.model
            self._loaded[weights] = footprint(
                self.data, m, m.context, weights, layout, self.board.kernels
            )
        return resized(self._loaded[weights], self.model, context, layout)

    def _rare(self) -> tuple[int, int]:
        """Bytes of the code that this model needs besides: from loading on, once it runs."""
        modules, m = self.board.code.modules, self.model
        four = any(op in program.FOUR for op, _ in program.walk(m.words))
        image = modules["images"] if m.program[14] else 0
        image += modules["frames"] if m.rows else 0
        windows = modules["windows"] if m.rows else 0
        spans = modules["spans"] if m.task in ("answer", "tag") else 0
        added = modules["tokenizer_added"] if has_added(self.tokenizer) else 0
        return (modules["four"] if four else 0) + windows, image + spans + added

    def _peaks(self, f: Footprint, weights: str, server: bool) -> tuple[int, int, int]:
        """Bytes in use: code that stays, everything while loading, everything while running."""
        code = self.board.code
        more = code.server if server else 0
        place = code.places.get(weights, 0) + more
        from_loading, once_running = self._modules
        stays = code.resident[self.tokenizer[0]] + place + from_loading
        checking, binding = f.checking, code.binding
        if self.model.rows:
            checking += code.modules["check_signal"]
        if self.board.grows:
            # What is not small is there before; the tokenizer's code comes when the loader goes.
            checking, binding = sum(f.large), code.grown
            binding -= code.resident[self.tokenizer[0]] - min(code.resident.values())
        elif f.large:
            # What the proof leaves lies in front of the largest block, which comes behind it.
            checking += max(f.large)
        bound = f.binding + binding + stays
        loading = max(checking + code.checking + more, bound)
        running = f.resident + stays + once_running + f.transient + code.running
        if self._given:
            # What the loader leaves free is in pieces, and an input is one.
            running = max(running, bound) + sum(self._given)
        return stays, loading, running

    def _at(self, context: int, server: bool) -> tuple[str, Footprint, int, int, int, int]:
        """Where the weights are at a context; the footprint there, code, the two peaks, and the
        least heap that will do.
        """
        for weights in ("flash",) if self.board.mapped else ("ram", "file"):
            at = self._with(weights, context, server)
            if self._fits(at[1], at[-1], server):
                break
        return at

    def _with(
        self, weights: str, context: int, server: bool
    ) -> tuple[str, Footprint, int, int, int, int]:
        """The same with the weights in a place."""
        f = self._footprint(context, weights)
        peaks = self._peaks(f, weights, server)
        return weights, f, *peaks, max(peaks[1:]) + self.board.code.slack[weights]

    def _fits(self, f: Footprint, needed: int, server: bool) -> bool:
        board = self.board
        large = f.large + self._given
        if board.areas:
            early = board.code.early[server]
            return board.areas.less(board.code.native).holds(early, large, needed)
        heap = board.heap.bytes
        return needed <= heap and packs(needed, large, heap, board.pieces)

    @property
    def reads_all(self) -> bool:
        """Whether an input takes all positions: an image, a signal."""
        return bool(self.model.program[14] or self.model.rows)

    def needed(self, context: int, server: bool = False) -> int:
        """The least heap, in bytes, for a context."""
        return self._at(context, server)[-1]

    def needed_with(self, context: int, weights: str, server: bool = False) -> int:
        """The least heap, in bytes, for a context with `Model(path, context, weights)`."""
        return self._with(weights, context, server)[-1]

    def longest(self, server: bool = False) -> int:
        """The longest context that fits the heap, 0 where none does.

        Images and signals take all their positions: the file's context or none.
        """
        low, high = 0, self.model.context // 2
        if self.reads_all:
            _, f, _, _, _, needed = self._at(2 * high, server)
            return 2 * high if self._fits(f, needed, server) else 0
        while low < high:
            middle = (low + high + 1) // 2
            _, f, _, _, _, needed = self._at(2 * middle, server)
            if self._fits(f, needed, server):
                low = middle
            else:
                high = middle - 1
        return 2 * low

    def _copied(self, f: Footprint, weights: str, code: int) -> int:
        """Bytes of weights in flash of which there will be copies in RAM."""
        if weights != "flash":
            return 0
        taken = f.resident + code + self.board.code.binding + SPARE + self.listening
        return copied(self.model, self.board.heap.bytes - taken)

    def with_cache(self, key_bits: int, value_bits: int) -> Plans:
        """Plans for the same model converted with these bits of keys and values."""
        other = copy(self)
        other.model = self.model.with_cache(key_bits, value_bits)
        return other

    def _narrower(self, b: Budget) -> list[tuple[str, int]]:
        """Narrower caches that help where it does not fit: options, and the longest context."""
        out: list[tuple[str, int]] = []
        if self.reads_all or not b.fits_flash or b.fits_heap and b.fits_block:
            return out
        keys, values = self.model.cache_bits
        longest = b.longest
        for most_keys, most_values in NARROWER:
            key_bits, value_bits = min(keys, most_keys), min(values, most_values)
            if (key_bits, value_bits) == (keys, values):
                continue
            options = f"--key-bits {key_bits}" + f" --value-bits {value_bits}" * (value_bits < 8)
            n = self.with_cache(key_bits, value_bits).longest(b.server)
            if n > longest:
                out.append((options, n))
                longest = n
            if n >= b.context:
                break
        return out

    def _parameters(self) -> int:
        """Parameters of the original, where the file says a number that makes sense."""
        said = self.model.meta.get("parameters")
        if type(said) is int and said > 0:
            return said
        return self.model.sizes["weights"]

    def budget(self, context: int | None = None, server: bool = False) -> Budget:
        """The budget at a context, by default the file's. Raises Error for one out of range.

        server: beside the serial server, not alone in a script.
        """
        m, board = self.model, self.board
        limit = m.context
        context = limit if context is None else context
        if not 2 <= context <= limit:
            raise Error(f"context is {context}, this model has 2 to {limit}")
        context += context % 2
        weights, f, code, loading, running, needed = self._at(context, server)
        name = max(f.pieces, key=lambda k: f.pieces[k])
        in_ram = self._copied(f, weights, code)
        flash, runtime = board.flash.bytes, runtime_bytes(board, self.tokenizer)
        stored = board.on_disk(len(self.data))
        room = not flash or stored + runtime <= flash
        tokens, given = self._timed(context)
        copies = in_ram if weights == "flash" else None
        took = None
        if m.task not in ("generate", "translate"):
            took = milliseconds(m, board.name, tokens, copies)
        out = Budget(
            model=str(m.meta.get("name", "")),
            board=board.name,
            context=context,
            file_context=limit,
            weights=weights,
            in_ram=in_ram,
            kernels=board.kernels,
            server=server,
            parts=f.parts,
            code=code,
            loading=loading,
            running=running,
            needed=needed,
            heap=board.room,
            largest=f.pieces[name],
            largest_part=name,
            largest_free=board.largest.bytes,
            model_flash=stored,
            runtime_flash=runtime,
            flash=flash,
            longest=self.longest(server) if room else 0,
            float_bytes=4 * self._parameters(),
            pieces=sorted(f.large + self._given, reverse=True),
            free_pieces=list(board.pieces),
            in_areas=None if board.areas is None else self._fits(f, needed, server),
            speed=speed(self.model, board.name, context, copies),
            milliseconds=took,
            input=given,
        )
        out.narrower.extend(self._narrower(out))
        out.advice.extend(self._advice(out))
        return out

    def _timed(self, context: int) -> tuple[int, str]:
        """An input that an answer is timed for: its positions, and what it is, in words."""
        if self.reads_all:
            return self.model.context, "a signal" if self.model.rows else "an image"
        tokens = min(TEXT, context)
        return tokens, f"a text of {tokens} tokens"

    def _advice(self, b: Budget) -> list[str]:
        """What to do about a model that does not fit, or not as long as it could be."""
        out = []
        if not b.fits_flash:
            over = b.model_flash + b.runtime_flash - b.flash
            free = "remove another (picoformer remove), or " if self.board.connected else ""
            out.append(f"The filesystem is {over:,} bytes too small: {free}take a smaller model.")
        if not (b.fits_heap and b.fits_block):
            if self.board.note:
                out.append(f"{self.board.note[:1].upper()}{self.board.note[1:]}.")
            if b.longest:
                alone = f"Model(path, context={b.longest})"
                how = f"--positions {b.longest}" if b.server else alone
                out.append(f"Load it with a context of at most {b.longest}: {how}.")
            elif b.fits_flash and not b.narrower and not self.board.note:
                none = "No context fits"
                if self.reads_all:
                    what = "A signal" if self.model.rows else "An image"
                    none = f"{what} takes all its positions"
                out.append(f"{none}: take a smaller model.")
            for options, n in b.narrower:
                out.append(f"Converted with {options} it has room for a context of {n}.")
        return out

    @property
    def listening(self) -> int:
        """Bytes of the heap that `Model.features` takes, of a model of sound."""
        m = self.model
        if not m.rows or not m.program[17]:
            return 0
        at = int(m.program[17]) >> 6
        work, samples, rows = sound.sizes([int(n) for n in m.tables[at : at + 5]], m.rows)
        return sum(map(self.board.layout.array, (4 * work, 2 * samples, 2 * rows)))
