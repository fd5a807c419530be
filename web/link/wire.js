// The numbers of the serial link; docs/protocol.md is the definition.

export const MAJOR = 1;
export const MINOR = 0;
export const WINDOW = 64; // tokens that need not have been acknowledged
export const RAW = 1; // capability: raw frames

/** Kinds of frames. A reply has bit 7 set. */
export const KINDS = Object.freeze({
  HELLO: 1,
  INFO: 2,
  LIST: 4,
  BEGIN: 5,
  DATA: 6,
  COMMIT: 7,
  REMOVE: 8,
  LOAD: 9,
  ARGUMENT: 10,
  LOGITS: 11,
  GENERATE: 12,
  TAKEN: 13,
  STOP: 14,
  PING: 15,
  BYE: 16,
  READ: 17,
  LABELS: 18,
  ANSWER: 19,
  READY: 0x41,
  TOKEN: 0x42,
  BUSY: 0x43,
  ERROR: 0x44,
  WANT: 0x45,
});

/** Codes of ERROR. */
export const CODES = Object.freeze({
  BAD_CRC: 1,
  BAD_VERSION: 2,
  BAD_REQUEST: 3,
  BAD_STATE: 4,
  BAD_OFFSET: 5,
  BAD_NAME: 6,
  NO_FILE: 7,
  NO_SPACE: 8,
  NO_MEMORY: 9,
  BAD_DATA: 10,
  BAD_MODEL: 11,
  UNSUPPORTED: 12,
  INTERNAL: 13,
});
