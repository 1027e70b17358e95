import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Admission from "../../src/transport/Admission.ts"

const admits = (origins: ReadonlyArray<string>, origin: string | undefined) =>
  Result.isSuccess(
    Admission.decide(
      { path: "/arcp", hosts: undefined, origins, defaultPort: 80 },
      { target: "/arcp", host: "localhost", origin }
    )
  )

describe("Admission", () => {
  it.each([
    ["https://app.example", "https://app.example"],
    ["https://app.example/", "https://app.example"],
    ["https://APP.example:443", "https://app.example"],
    ["chrome-extension://abc", "chrome-extension://abc"],
    ["null", "null"],
    ["https://app.example", undefined]
  ])("with the origin %s allowed takes %s", (allowed, origin) => {
    assert.isTrue(admits([allowed], origin))
  })

  it.each(["localhost:3000", "localhost", "app.example", "file:///", "data:", "", "*", "https://app.example"])(
    "with the origin %j allowed takes no page without an origin of its own",
    (allowed) => {
      assert.isFalse(admits([allowed], "null"))
    }
  )

  it.each(["https://evil.example", "https://app.example.evil", "http://app.example", "https://app.example:8443", ""])(
    "does not take %j for another",
    (origin) => {
      assert.isFalse(admits(["https://app.example"], origin))
    }
  )
})
