import * as Case from "../Case.ts"
import type { Commands } from "../peers/leases.ts"

/** What it takes to decide whether a lease covers an operation. */
export const leaseChecks = Case.make({
  id: "leases",
  title: "lease checks",
  notes: [
    "Whole checks with Lease.authorize: canonical target, all patterns, and the error of a denial.",
    "Hostile: the slowest of several shapes, by its median; the target has 1 KiB. Raw: one RegExp on the path; URL.parse alone."
  ],
  metrics: [
    { id: "read", name: "a path, covered", unit: "checks/s" },
    { id: "fetch", name: "a URL, covered", unit: "checks/s" },
    { id: "denied", name: "a path, denied", unit: "checks/s" },
    { id: "oneKiB", name: "hostile pattern of 1 KiB", unit: "us", demands: [{ atMost: 100 }] },
    { id: "fullCapability", name: "hostile patterns, 8 KiB", unit: "us", demands: [{ atMost: 500 }] }
  ],
  open: async (stage) => {
    const millis = stage.scale.quick ? 60 : 400
    const peer = await stage.start<Commands>("leases", "leases")
    return [
      { name: "Lease.authorize", kind: "system", run: () => peer.call("leases", { millis }) },
      { name: "RegExp, URL.parse", kind: "raw", run: () => peer.call("platform", { millis }) }
    ]
  }
})
