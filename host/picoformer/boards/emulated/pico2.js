// An emulated Raspberry Pi Pico 2: rp2350js, behind a TCP socket. pico2_process.py starts it:
//
//   node pico2.js RP2350JS FIRMWARE.uf2 FILESYSTEM OFFSET PORT
//
// RP2350JS: its folder, compiled. FILESYSTEM: a file, which lies at OFFSET in the flash and is
// written when it has changed. Without a client what the board says is lost, as on USB.
//
// MicroPython needs more than rp2350js 2.0.1 has: a flash that can be erased and written, a reset of
// core 1, and some instructions of the Cortex-M33. They are added here.
'use strict';
const fs = require('fs');
const net = require('net');
const path = require('path');

const [folder, firmware, filesystem, offset, port] = process.argv.slice(2);
const { RP2350, USBCDC } = require(path.join(folder, 'dist', 'cjs'));

const HZ = 150e6;
const SLICE_MS = 10; // of emulation between looks at the socket
const TICK_CYCLES = 20; // between looks at the timers
const AHEAD = 256; // bytes in the board's queue, which has room for 512
const UNREAD = 65536; // bytes that nobody reads, before the board is made to wait
const REST_MS = 1000; // without a write, after which the flash is kept

// The flash: a chip of 4 MB on the QMI, to which commands go in its direct mode.

class FlashChip {
  constructor(bytes) {
    this.bytes = bytes;
    this.changed = 0; // when, by Date.now()
    this.writable = false;
    this.selected = false;
    this.begin();
  }

  begin() {
    [this.n, this.command, this.address, this.data] = [0, -1, 0, []];
  }

  select(on) {
    if (on && !this.selected) this.begin();
    if (!on && this.selected) this.finish();
    this.selected = on;
  }

  transfer(byte) {
    const n = this.n++;
    if (n === 0) this.command = byte;
    else if (this.command === 0x05) return this.writable ? 2 : 0; // status: never busy
    else if (this.command === 0x35) return 2; // quad mode is on
    else if (this.command === 0x9f) return [0xef, 0x40, 0x16][(n - 1) % 3]; // W25Q32
    else if (this.command === 0x4b) return n < 5 ? 0xff : n; // its unique number
    else if (n < 4) this.address = ((this.address << 8) | byte) >>> 0;
    else if (this.command === 0x03) return this.bytes[(this.address + n - 4) % this.bytes.length];
    else this.data.push(byte);
    return 0xff;
  }

  finish() {
    if (this.command === 0x06) this.writable = true;
    if (!this.writable || this.n < 4) return;
    const erased = { 0x20: 0x1000, 0xd8: 0x10000 }[this.command];
    if (erased) {
      const start = this.address - (this.address % erased);
      this.bytes.fill(0xff, start, start + erased);
    } else if (this.command === 0x02) {
      const page = this.address & ~0xff;
      this.data.forEach((byte, i) => { this.bytes[page + ((this.address + i) & 0xff)] &= byte; });
    } else return;
    this.writable = false;
    this.changed = Date.now();
  }
}

function addFlash(chip, flash) {
  const registers = new Map();
  const pins = chip.peripherals[0x40030]; // IO_QSPI: all pins read high, as if not pressed
  pins.readUint32 = (at) => registers.get(at) ?? (at & 4 ? 0x1f : at < 0x40 ? 0xffffffff : 0);
  pins.writeUint32 = (at, value) => registers.set(at, value);

  const [ENABLE, SELECT, AUTO, EMPTY, NOTHING] = [1, 1 << 2, 1 << 6, 1 << 11, 1 << 16];
  const [WIDE, NO_PUSH] = [1 << 18, 1 << 20];
  const others = new Map();
  const sent = [], received = [];
  let control = 0x01800000;
  const exchange = () => {
    for (let word; (word = sent.shift()) !== undefined; ) {
      if (control & AUTO) flash.select(true);
      let answer = flash.transfer(word & 0xff);
      if (word & WIDE) answer = (answer << 8) | flash.transfer((word >>> 8) & 0xff);
      if (!(word & NO_PUSH)) received.push(answer);
    }
  };
  const qmi = chip.peripherals[0x400d0];
  qmi.readUint32 = (at) => {
    if (at === 8) return received.shift() ?? 0;
    if (at !== 0) return others.get(at) || 0;
    if (control & AUTO) flash.select(false); // all has been sent
    const level = Math.min(received.length, 4) << 18;
    return ((control & 0xffe08bfd) | EMPTY | (received.length ? 0 : NOTHING) | level) >>> 0;
  };
  qmi.writeUint32 = (at, value) => {
    if (at === 0) {
      control = value;
      if (!(control & ENABLE)) received.length = 0;
      flash.select(!!(control & SELECT));
    } else if (at === 4) sent.push(value);
    else others.set(at, value);
    if (control & ENABLE) exchange(); // until then it waits
  };
}

// PSM: to force core 1 off and on resets it; a soft reset of MicroPython does.

function addCore1Reset(chip) {
  const CORE1 = 1 << 24;
  const registers = [0, 0, 0, 0];
  const psm = chip.peripherals[0x40018];
  const reset = () => {
    const nvic = chip.ppb.coreState[1];
    Object.assign(nvic, { vtor: 0, pendingPendSV: false, pendingSystick: false, pendingNMI: false });
    for (const words of ['nvicEnabled', 'nvicPending', 'nvicActive']) nvic[words] = [0, 0];
    chip.core[1].reset();
    chip.core[1].cycles = chip.core[0].cycles;
  };
  psm.readUint32 = (at) => (at === 12 ? ~registers[1] & 0x1ffffff : registers[at >> 2] >>> 0);
  psm.writeUint32 = (at, value) => {
    const turned = at === 4 ? (registers[1] ^ value) & CORE1 : 0;
    registers[at >> 2] = value;
    if (turned) reset();
    if (turned & value) chip.core[1].waiting = true;
  };
}

// Instructions of the M33 (Armv8-M Architecture Reference Manual, C2.4) outside of IT blocks.

const low = (x) => (x << 16) >> 16;
const turn = (x, n) => (n ? (x >>> n) | (x << (32 - n)) : x);
const halves = (lo, hi) => ((hi << 16) | (lo & 0xffff)) >>> 0;

function missing(regs, h0, h1) { // what an instruction gives, or null for one that rp2350js has
  const n = regs.r[h0 & 15] | 0, m = regs.r[h1 & 15] | 0, op = h0 & 0xfff0;
  const added = h1 >> 12 === 15 ? 0 : regs.r[h1 >> 12] | 0;
  if (op === 0xeac0 && !(h1 & 0x8010)) { // PKHBT, PKHTB
    const shift = ((h1 >> 10) & 0x1c) | ((h1 >> 6) & 3);
    return h1 & 0x20 ? halves(m >> (shift || 31), n >> 16) : halves(n, (m << shift) >> 16);
  }
  if ((op === 0xfa20 || op === 0xfa30) && (h1 & 0xf0c0) === 0xf080) { // SXTAB16, UXTAB16
    const x = turn(m, ((h1 >> 4) & 3) * 8), base = (h0 & 15) === 15 ? 0 : n;
    const wide = h0 & 0x10 ? (byte) => byte & 0xff : (byte) => (byte << 24) >> 24;
    return halves(base + wide(x), (base >>> 16) + wide(x >> 16));
  }
  if ((op === 0xfb20 || op === 0xfb40) && !(h1 & 0xe0)) { // SMLAD(X), SMLSD(X)
    const x = h1 & 0x10 ? turn(m, 16) : m, second = (n >> 16) * (x >> 16);
    const sum = added + low(n) * low(x) + (op === 0xfb20 ? second : -second);
    if (sum !== (sum | 0)) regs.setQ();
    return sum >>> 0;
  }
  if (op === 0xfb30 && !(h1 & 0xe0)) // SMLAWB, SMLAWT
    return (Math.floor((n * (h1 & 0x10 ? m >> 16 : low(m))) / 65536) + added) >>> 0;
  if (((h0 & 0xfbff) === 0xf20f || (h0 & 0xfbff) === 0xf2af) && regs.pc & 2 && !(h1 & 0x8000)) {
    const distance = ((h0 & 0x400) << 1) | ((h1 >> 4) & 0x700) | (h1 & 0xff); // ADR, from a word
    const base = (regs.pc + 4) & ~3;
    return (h0 & 0xa0 ? base - distance : base + distance) >>> 0;
  }
  return null;
}

function addInstructions(chip, core) {
  const plain = core.executeInstruction.bind(core);
  core.executeInstruction = () => {
    const regs = core.regs;
    if (core.waiting || core.pendingFault || regs.itState) return plain();
    // plain() would look for interrupts and then execute, without them, one that it lacks.
    if (core.interruptsUpdated && core.checkForInterrupts()) core.cycles += 12;
    const pc = regs.pc & ~1, h0 = chip.readUint16(pc);
    if (h0 < 0xe800) return plain();
    const h1 = chip.readUint16(pc + 2), value = missing(regs, h0, h1);
    if (value === null) return plain();
    regs.r[(h1 >> 8) & 15] = value;
    regs.pc = (pc + 4) >>> 0;
    core.cycles += 1;
    return 1;
  };
}

// The board

const quiet = () => {};
const size = fs.statSync(filesystem).size;
let chip, core0, core1, flash, usb;
let client = null;
let toBoard = Buffer.alloc(0);
let over; // a watchdog has run out, or machine.reset() was called
let debt; // cycles that the timers have not seen
let wall, own; // this computer's time when it was the board's own

function boot(kept) {
  chip = new RP2350({ coreArch: 'arm' });
  chip.logger = { debug: quiet, info: quiet, warn: quiet, error: (name, text) => console.error(name, text) };
  chip.clkSys = HZ;
  chip.loadFirmware(firmware, { initChip: false });
  chip.flash.set(kept, +offset);
  chip.reset();
  chip.watchdog.onWatchdogTrigger = () => { over = true; };
  [core0, core1] = chip.core;
  flash = new FlashChip(chip.flash.subarray(0, 4 << 20));
  addFlash(chip, flash);
  addCore1Reset(chip);
  for (const core of chip.core) addInstructions(chip, core);
  usb = new USBCDC(chip.usbCtrl);
  usb.onSerialData = (bytes) => { if (client && bytes.length) client.write(Buffer.from(bytes)); };
  [over, debt, wall, own] = [false, 0, Date.now(), 0];
}

const files = () => chip.flash.subarray(+offset, +offset + size);

function keep() {
  if (!flash.changed) return;
  flash.changed = 0;
  fs.writeFileSync(filesystem + '.new', files());
  fs.renameSync(filesystem + '.new', filesystem);
}

function feed() {
  let n = 0;
  while (n < toBoard.length && usb.txFIFO.itemCount < AHEAD) usb.sendSerialByte(toBoard[n++]);
  if (n) toBoard = toBoard.subarray(n);
  if (client && !toBoard.length) client.resume();
}

function serve() {
  net.createServer((socket) => {
    if (client) client.destroy();
    client = socket;
    socket.setNoDelay(true);
    socket.on('data', (data) => { toBoard = Buffer.concat([toBoard, data]); socket.pause(); });
    socket.on('error', quiet);
    socket.on('close', () => { if (client === socket) client = null; });
  }).listen(+port, '127.0.0.1');
}

// Its time is never ahead of this computer's; where it falls behind, it stays there.

function pay() {
  if (debt) chip.clock.tick((debt * 1e9) / HZ);
  debt = 0;
}

function instruction() {
  const before = core0.cycles;
  chip.currentCore = 0;
  core0.executeInstruction();
  if (core1.waiting) core1.cycles = core0.cycles;
  chip.currentCore = 1;
  while (core1.cycles < core0.cycles && !core1.waiting) core1.executeInstruction();
  chip.currentCore = 0;
  debt += core0.cycles - before;
  if (debt >= TICK_CYCLES) pay();
}

function run() {
  if (over) {
    keep();
    boot(files().slice());
  }
  feed();
  if (flash.changed && Date.now() - flash.changed > REST_MS) keep();
  const until = Date.now() + SLICE_MS;
  let pause = client && client.writableLength > UNREAD;
  while (!pause && !over && Date.now() < until) {
    for (let i = 0; i < 2000 && !over && !(core0.waiting && core1.waiting); i++) instruction();
    pay();
    if (core0.waiting && core1.waiting) {
      // Asleep: the time goes on to the next alarm, at most to this computer's.
      const behind = (Date.now() - wall) * 1e6 - (chip.clock.nanos - own);
      if (behind > 0) chip.clock.tick(Math.min(behind, Math.max(chip.clock.nanosToNextAlarm, 1000), 1e6));
      else pause = true;
    }
    feed();
  }
  const now = Date.now(), lead = (chip.clock.nanos - own) / 1e6 - (now - wall);
  if (lead < 0) [wall, own] = [now, chip.clock.nanos];
  if (pause || lead > 0) setTimeout(run, Math.min(Math.max(lead, 1), SLICE_MS));
  else setImmediate(run);
}

process.on('SIGTERM', () => { keep(); process.exit(0); });
boot(fs.readFileSync(filesystem));
serve();
run();
