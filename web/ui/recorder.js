// In the audio thread: hands the first channel of what comes to the page.

class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) {
      this.port.postMessage(channels[0].slice());
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
