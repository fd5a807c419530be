"""The board's end of the serial link; docs/protocol.md is the definition.

The PC starts `serve()` from the raw REPL. Ctrl-C works at any time and gives the REPL back: no
frame ever holds the byte 3, so nothing has to be switched off while data comes in.
"""

import gc
import os
import select
import struct
import sys
from array import array
from binascii import crc32

from .errors import Error, free, largest
from .server_frames import (
    ANSWER,
    ARGUMENT,
    BAD_DATA,
    BAD_MODEL,
    BAD_NAME,
    BAD_OFFSET,
    BAD_REQUEST,
    BAD_STATE,
    BAD_VERSION,
    BEGIN,
    BLOCK,
    BUSY,
    BYE,
    COMMIT,
    DATA,
    GENERATE,
    HELLO,
    INFO,
    INTERNAL,
    LABELS,
    LIST,
    LOAD,
    LOGITS,
    MAJOR,
    MINOR,
    NO_FILE,
    NO_MEMORY,
    NO_SPACE,
    PATIENT,
    PING,
    RAW,
    READ,
    READY,
    REMOVE,
    SILENCE,
    STOP,
    TAKEN,
    TOKEN,
    UNSUPPORTED,
    WINDOW,
    Frames,
    Refused,
    ticks_diff,
    ticks_ms,
)

FLUSH = 20  # ms between two TOKEN frames, at least, or half a window of tokens
RUN = 240  # logits in a frame

# What a payload that is too short or no UTF-8 raises: here ValueError, on the PC struct's own.
_MALFORMED = ValueError, getattr(struct, "error", ValueError)


def _text(s):
    s = s.encode()[:255]
    return bytes((len(s),)) + s


class Server(Frames):
    """Answers requests.

    read(n) and readinto(buffer, n) block until n bytes; ready(ms) waits for the first.
    """

    def __init__(self, read, write, ready, root="/", readinto=None, cores=1):
        Frames.__init__(self, read, write, ready, readinto)
        self._root = root
        self._cores = cores
        self._nonce = os.urandom(4)
        self.patient = False  # does the link make the PC wait?
        self._now = None  # kind and sequence number of the request that is being done
        self._last = None  # those of the one before
        self._reply = b""  # its reply, for when it comes again
        self._file = None  # of the upload
        self._upload = (None, 0, 0)  # name, bytes, CRC
        self._at = 0  # bytes of the upload in flash
        self._model = None
        self._loaded = None  # name, context, header CRC
        self._argument = bytearray()  # a signal or an image has its room from loading on
        self._input = self._kept = 0  # bytes of that room; of the argument
        # Of the text that is being, or was last, generated.
        self._run = -1  # sequence number of its request
        self._pieces = [""] * WINDOW
        self._count = self._sent = self._taken = 0
        self._stop = False
        self._end = b""  # the frame that ends it
        self._handlers = {
            HELLO: self._hello,
            INFO: self._info,
            LIST: self._list,
            BEGIN: self._begin,
            DATA: self._data,
            COMMIT: self._commit,
            REMOVE: self._remove,
            LOAD: self._load,
            ARGUMENT: self._keep,
            LOGITS: self._logits,
            READ: self._text,
            LABELS: self._labels,
            ANSWER: self._question,
            GENERATE: self._generate,
            STOP: self._nothing,
            PING: self._ping,
            BYE: self._bye,
        }

    def run(self):
        """Serve until BYE, the end of the input or a long silence."""
        self._send(READY, 0, self._greeting())
        while self.alive:
            frame = self._receive(SILENCE)
            if frame is None:
                break
            self._answer(*frame)

    def close(self):
        """Close the files and free the model."""
        if self._file:
            self._file.close()
            self._file = None
        self._unload()

    def _answer(self, kind, seq, body):
        """Do what a frame asks for, once, and reply."""
        if kind == TAKEN:
            if self._end and seq == self._run and len(body) >= 3 and body[2]:
                # Of a text that is finished: the PC has missed its end.
                self._mark(seq, body)
                self._flush()
                self._write(self._end)
            return
        if (kind, seq) == self._last and kind != HELLO:
            if kind == GENERATE:
                self._sent = self._taken
                self._flush()
            self._write(self._reply)
            return
        self._last = None
        self._now = kind, seq
        self._seq = seq
        self._stop = False
        try:
            if kind not in self._handlers:
                raise Refused(UNSUPPORTED, kind, "")
            try:
                body = self._handlers[kind](body)
            except _MALFORMED as e:
                raise Refused(BAD_REQUEST, kind, str(e))
            self._reply = frame = self._frame(kind | 0x80, seq, body)
            self._write(frame)
        except Refused as e:
            self._reply = self._fail(seq, *e.args)
        except MemoryError as e:
            gc.collect()
            self._reply = self._fail(seq, NO_MEMORY, free(), str(e))
        except Error as e:
            self._reply = self._fail(seq, BAD_MODEL, 0, str(e))
        except OSError as e:
            code = NO_SPACE if e.args and e.args[0] == 28 else INTERNAL
            self._reply = self._fail(seq, code, 0, repr(e))
        except Exception as e:
            self._reply = self._fail(seq, INTERNAL, 0, repr(e))
        if kind == GENERATE:
            self._end = self._reply
        self._last = (kind, seq)

    # What needs no model

    def _greeting(self):
        payload, credit = 128, 256
        self.patient = sys.platform in PATIENT
        if self.patient:
            payload, credit = 1024, 4096
            if PATIENT.index(sys.platform) > 3:
                payload, credit = 32768, 1 << 20
        self._payload = payload
        return (
            struct.pack("<BBHHI", MAJOR, MINOR, RAW, payload, credit)
            + self._nonce
            + struct.pack("<I", free())
            + _text(sys.platform)
        )

    def _hello(self, body):
        if body[0] != MAJOR:
            raise Refused(BAD_VERSION, MAJOR, "")
        return self._greeting()

    def _info(self, body):
        gc.collect()
        machine = getattr(sys.implementation, "_machine", "")
        version = "%d.%d.%d" % sys.implementation[1][:3]
        name = self._loaded[0] if self._loaded else ""
        head = struct.pack("<III", free(), largest(), self._space())
        return head + _text(machine) + _text(version) + _text(name)

    def _ping(self, body):
        return bytes(body)

    def _nothing(self, body):
        return b""

    def _bye(self, body):
        self.alive = False
        return b""

    # Files

    def _path(self, body):
        name = str(body, "utf8")
        # A file system ends a path at a 0 byte; FAT takes \\ for /.
        bad = not 0 < len(body) <= 64 or name[0] == "." or min(body) < 32
        if bad or "/" in name or "\\" in name:
            raise Refused(BAD_NAME, 0, name)
        return name, self._root + name + ".pft"

    def _space(self):
        s = os.statvfs(self._root)
        # littlefs may count more blocks as used than there are.
        return min(s[1] * s[4], 0xFFFFFFFF) if 0 <= s[4] <= s[2] else 0

    def _list(self, body):
        """Models from number body[0] on: as many as fit. Size, header CRC, name."""
        out = b""
        n = -1
        for name in sorted(os.listdir(self._root)):
            if not name.endswith(".pft"):
                continue
            n += 1
            if n < body[0] or len(out) > 512:
                continue
            size, crc, _ = self._stamp(self._root + name)
            out += struct.pack("<II", size, crc) + _text(name[:-4])
        return bytes((n + 1,)) + out

    def _stamp(self, path):
        """Bytes of a model file, its header's CRC, which covers all its sections' CRCs, and
        whether it has its weights."""
        with open(path, "rb") as f:
            head = f.read(100)
            size = f.seek(0, 2)
        if len(head) < 100:
            return size, 0, True
        crc = struct.unpack_from("<I", head, 96)[0]
        return size, crc, size != struct.unpack_from("<I", head, 84)[0]

    def _sum(self, path, size):
        """CRC32 of a file's first `size` bytes. Tells the PC that it is busy."""
        crc = 0
        block = bytearray(min(max(size, 1), 4096))
        said = ticks_ms()
        with open(path, "rb") as f:
            while size > 0:
                n = f.readinto(block)
                if not n:
                    break
                n = min(n, size)
                size -= n
                crc = crc32(memoryview(block)[:n], crc)
                if ticks_diff(ticks_ms(), said) > 1000:
                    said = ticks_ms()
                    self._send(BUSY, self._seq, b"")
        return crc & 0xFFFFFFFF

    def _begin(self, body):
        size, crc, fresh = struct.unpack_from("<IIB", body)
        name, path = self._path(body[9:])
        path += ".part"
        if self._file:
            self._file.close()
            self._file = None
        at = 0
        try:
            at = os.stat(path)[6]
            old = path[:-5]
            # On FAT a rename that was cut leaves two names of one file, which goes with either.
            if os.stat(old)[6] == at and self._sum(old, at) == self._sum(path, at):
                os.remove(old)
                fresh = 1
        except OSError:
            pass
        if at and (fresh or at > size):
            os.remove(path)
            at = 0
        free = self._space()
        if size - at > free:
            raise Refused(NO_SPACE, free, "")
        prefix = self._sum(path, at) if at else 0
        block = self._payload
        self._buffer = b""
        if not self.patient:
            try:
                # Some of it for the 3s, which are two bytes each on their way.
                self._buffer = bytearray(BLOCK + 256)
                block = BLOCK
            except MemoryError:
                pass
        self._file = open(path, "ab")
        self._upload = name, size, crc
        self._at = at
        return struct.pack("<IIH", at, prefix, block)

    def _data(self, body):
        if not self._file:
            raise Refused(BAD_STATE, DATA, "")
        at = struct.unpack_from("<I", body)[0]
        n = len(body) - 4
        if n:
            if at != self._at or at + n > self._upload[1]:
                raise Refused(BAD_OFFSET, self._at, "")
            done = self._file.write(body[4:])
            self._at += done
            # littlefs forgets what was not flushed if power fails; PCs, slow at it, do not.
            if (at ^ self._at) >> 15 and n < 4096:
                self._file.flush()
            if done != n:
                raise Refused(NO_SPACE, self._space(), "")
        return struct.pack("<I", self._at)

    def _commit(self, body):
        name, size, crc = self._upload
        if not self._file:
            raise Refused(BAD_STATE, COMMIT, "")
        if self._at != size:
            raise Refused(BAD_OFFSET, self._at, "")
        self._file.close()
        self._file = None
        self._buffer = b""
        path = self._root + name + ".pft"
        seen = self._sum(path + ".part", size)
        if seen != crc:
            os.remove(path + ".part")
            raise Refused(BAD_DATA, seen, "")
        if self._loaded and self._loaded[0] == name:
            self._unload()
        os.rename(path + ".part", path)
        return b""

    def _remove(self, body):
        name, path = self._path(body)
        if self._loaded and self._loaded[0] == name:
            self._unload()
        found = False
        for p in (path, path + ".part"):
            try:
                os.remove(p)
                found = True
            except OSError as e:
                if e.args[0] != 2:  # it is there, and stays
                    raise
        if not found:
            raise Refused(NO_FILE, 0, name)
        return b""

    # Models

    def _unload(self):
        model = self._model
        self._model = self._loaded = self._stream = None
        self._buffer = b""
        self._argument = bytearray()
        self._input = self._kept = 0
        if model:
            model.close()
        model = None
        gc.collect()

    def _load(self, body):
        context = struct.unpack_from("<H", body)[0]
        name, path = self._path(body[2:])
        try:
            stamp = name, context, self._stamp(path)
        except OSError:
            raise Refused(NO_FILE, 0, name)
        start = ticks_ms()
        if stamp != self._loaded:
            self._unload()
            before = free()
            from .model import Model

            if not stamp[2][2]:
                from .server_stream import Stream

                self._stream = Stream(self, stamp[2][1])
            self._model = model = Model(path, context or None, self._stream, cores=self._cores)
            self._input = 1
            for n in model.image[:3] or model.frames + (2,):
                self._input *= n
            try:
                self._argument = bytearray(self._input)
            except MemoryError:
                model = None
                self._unload()
                raise
            self._loaded = stamp
            gc.collect()
            self._heap = max(0, before - free())
        model = self._model
        return (
            struct.pack("<HIIII", model.context, model.vocab, free(), self._heap,
                        ticks_diff(ticks_ms(), start))
            + _text(model.weights)
            + _text(model.kernels)
            + _text(model.task)
            + struct.pack("<IB", model.in_ram, model.cores)
        )  # fmt: skip

    def _keep(self, body):
        """Part of the next request's argument, where that is longer than a frame."""
        at = struct.unpack_from("<H", body)[0]
        if at > self._kept:
            raise Refused(BAD_OFFSET, self._kept, "")
        self._put(at, body[2:])
        return struct.pack("<H", self._kept)

    def _put(self, at, part):
        end = at + len(part)
        self._argument.extend(bytes(max(0, end - len(self._argument))))
        self._argument[at:end] = part
        self._kept = end

    def _use(self, body):
        """The argument: what was kept, and then `body`."""
        self._put(self._kept, body)
        given = memoryview(self._argument)[: self._kept]
        self._kept = 0
        if len(self._argument) > self._input:
            self._argument = bytearray(self._input)
        if not self._model:
            raise Refused(BAD_STATE, LOAD, "")
        return given

    def _logits(self, body):
        tokens = self._use(body)
        tokens = struct.unpack("<%dH" % (len(tokens) // 2), tokens)
        return self._result(LOGITS, self._model.logits(tokens))

    def _text(self, body):
        given = self._use(body[1:])
        if not body[0] & 2:
            given = str(given, "utf8")
        if body[0] & 4:
            words = array("i")
            for i, logits in self._model.tags(given):
                words.append(i)
                words.extend(logits)
            return self._result(READ, words)
        task = "predict" if body[0] & 8 else "embed" if body[0] & 1 else "classify"
        return self._result(READ, self._model.read(given, task))

    def _result(self, kind, words):
        words = memoryview(words)
        n = len(words)
        for i in range(0, n, RUN):
            part = struct.pack("<II", i, n) + bytes(words[i : i + RUN])
            if i + RUN >= n:
                return part
            self._send(kind | 0x80, self._seq, part)

    def _labels(self, body):
        """The labels from number `first` on: as many as fit."""
        first = struct.unpack_from("<H", body)[0]
        self._use(b"")
        labels = self._model.labels
        out = b""
        for label in labels[first:]:
            if len(out) > 512:
                break
            out += _text(label)
        model = self._model
        height, width, channels = model.image[:3] or (model.frames or (0, 0)) + (0,)
        head = model.bits | model.several << 7, len(labels), height, width, channels
        return struct.pack("<BHHHB", *head) + out

    def _question(self, body):
        n = struct.unpack_from("<H", body)[0]
        text = self._use(body[2:])
        context, question = str(text[:n], "utf8"), str(text[n:], "utf8")
        return self._model.answer(context, question).encode()

    def _generate(self, body):
        limit, temperature, top_p, seed = struct.unpack_from("<HIHI", body)
        prompt = str(self._use(body[12:]), "utf8")
        self._run = self._seq
        self._count = self._sent = self._taken = 0
        self._end = b""
        ready = self._ready
        pieces = self._pieces
        count = first = 0
        begun = flushed = ticks_ms()
        model = self._model
        if model.task == "translate":
            # What follows from likelihoods has no temperature: beams and their penalty are there.
            beams = temperature >> 16 or 1
            text = model.translation(prompt, limit or None, beams, (temperature & 0xFFFF) / 1000)
        else:
            # The highest bit of top-p: the prompt has all its special tokens.
            numbers = temperature / 1000, (top_p & 0x7FFF) / 1000, seed
            text = model.generate(prompt, limit or None, *numbers, raw=top_p >> 15)
        while True:
            try:
                piece = next(text)
            except StopIteration:
                break
            except Refused:
                if self._stop:  # while weights were on their way
                    break
                raise
            pieces[count % WINDOW] = piece
            count += 1
            self._count = count
            now = ticks_ms()
            if count == 1:
                first = now
            # Half a window early: the PC's word is back before the board would wait for it.
            if count == 1 or count - self._sent > WINDOW // 2 or ticks_diff(now, flushed) >= FLUSH:
                flushed = now
                self._flush()
            while ready(0) or count - self._taken == WINDOW:
                self._flush()
                self._control(SILENCE if count - self._taken == WINDOW else 0)
                if self._stop:
                    break
            if self._stop:
                break
        now = ticks_ms()
        self._flush()
        gc.collect()
        first = ticks_diff(first, begun) if count else 0
        return struct.pack("<BHIII", self._stop, count, first, ticks_diff(now, begun), free())

    def _control(self, wait):
        """Take a frame, if there is one, while a text is being generated."""
        frame = self._receive(wait)
        if frame is None:
            # Without waiting it was only the line feed behind a frame, or noise.
            if wait or not self.alive:
                self._stop = True
                self.alive = False
            return
        self._heed(*frame)

    def _heed(self, kind, seq, body):
        """What the PC says while the board is busy."""
        if kind == TAKEN:
            self._mark(seq, body)
        elif (kind, seq) == self._now:
            self._sent = self._taken
        elif kind in (STOP, BYE):
            self._stop = True
            self.alive = kind == STOP
            self._send(kind | 0x80, seq, b"")
        elif kind == PING:
            self._send(PING | 0x80, seq, body)
        else:
            self._fail(seq, BAD_STATE, self._now[0], "")

    def _mark(self, seq, body):
        """The PC has all tokens before an index; it may want those behind it again."""
        index, again = struct.unpack_from("<HB", body)
        if seq == self._run and self._taken <= index <= self._count:
            self._taken = index
            if again:
                self._sent = index
                if index == self._count and not self._end:
                    self._send(TOKEN, seq, struct.pack("<H", index))  # a sign of life

    def _flush(self):
        """Send the tokens that the PC has not been sent."""
        while self._sent < self._count:
            body = struct.pack("<H", self._sent)
            while self._sent < self._count and len(body) < 512:
                piece = self._pieces[self._sent % WINDOW].encode()
                body += struct.pack("<H", len(piece)) + piece
                self._sent += 1
            self._send(TOKEN, self._run, body)


def serve(cores=1):
    """Talk to the PC over the REPL's port until BYE, Ctrl-C or a minute of silence.

    cores: of models; see Model.
    """
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)

    def ready(ms):
        # In short waits: an emulated board's clock leaps over a long one.
        while True:
            for _ in poller.ipoll(min(ms, 500)):
                return True
            ms -= 500
            if ms <= 0:
                return False

    stdin = sys.stdin.buffer
    server = Server(stdin.read, sys.stdout.buffer.write, ready, "/", stdin.readinto, cores)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
