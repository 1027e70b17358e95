import * as Case from "../Case.ts"
import type { Commands } from "../peers/codec.ts"

/** What reading and writing a frame takes. */
export const codecAlone = Case.make({
  id: "codec",
  title: "the codec alone",
  notes: [
    "Decoding includes JSON.parse and all checks. An event is encoded as the runtime does it: body, tail, head.",
    "A text that was put together from parts is not yet flat: that cost falls to whoever writes it."
  ],
  metrics: [
    { id: "decodeEvent", name: "decode event", unit: "frames/s" },
    { id: "encodeEvent", name: "encode event", unit: "frames/s" },
    { id: "decodeSubmit", name: "decode submit", unit: "frames/s" },
    { id: "encodeSubmit", name: "encode submit", unit: "frames/s" }
  ],
  open: async (stage) => {
    const millis = stage.scale.quick ? 60 : 400
    const peer = await stage.start<Commands>("codec", "codec")
    return [
      { name: "Codec", kind: "system", run: () => peer.call("codec", { millis }) },
      { name: "JSON.parse, JSON.stringify", kind: "raw", run: () => peer.call("json", { millis }) }
    ]
  }
})
