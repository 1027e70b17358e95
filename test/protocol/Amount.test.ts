import { assert, describe, it } from "@effect/vitest"
import { BigDecimal, Effect, Option, Result, Schema } from "effect"
import * as Amount from "../../src/protocol/Amount.ts"
import { verifies } from "../conformance/verifies.ts"

const value = (text: string) => BigDecimal.fromStringUnsafe(text)

const isParsed = (text: string) => Result.isSuccess(Amount.parse(text))

describe("Amount", () => {
  verifies("C-112", "takes a currency, a colon and plain digits, and nothing else", () =>
    Effect.sync(() => {
      for (const text of ["USD:5.00", "USD:0", "usd:007", "credits:1", "gpu-h_1.x:0.5", `A${"b".repeat(31)}:1`]) {
        assert.isTrue(isParsed(text), text)
      }
      for (const text of [
        "",
        "USD",
        "USD:",
        ":5",
        "USD:-1",
        "USD:+1",
        "USD:1e3",
        "USD:.5",
        "USD:5.",
        "USD:1,000",
        "USD: 5",
        " USD:5",
        "USD:5\n",
        "USD:0x10",
        "USD:1_000",
        "USD:Infinity",
        "USD:NaN",
        "USD:٣",
        "US D:5",
        "1SD:5",
        "USD:1:2",
        `A${"b".repeat(32)}:1`,
        `USD:${"9".repeat(65)}`,
        `USD:0.${"9".repeat(65)}`
      ]) {
        assert.isFalse(isParsed(text), text)
      }
    })
  )

  const digits = Schema.String.check(Schema.isPattern(/^\d{1,40}$/))

  it.prop("is read as it was written", { whole: digits, fraction: digits }, ({ fraction, whole }) => {
    const amount = Result.getOrThrow(Amount.parse(`USD:${whole}.${fraction}`))
    const text = Amount.format(amount)
    assert.match(text, /^USD:(0|[1-9]\d*)(\.\d*[1-9])?$/)
    const again = Result.getOrThrow(Amount.parse(text))
    assert.isTrue(BigDecimal.equals(again.value, amount.value))
    assert.strictEqual(BigInt(whole + fraction), amount.value.value)
  })

  it("is written without an exponent, however large or small", () => {
    for (const [text, written] of [
      ["1e30", `1${"0".repeat(30)}`],
      ["1e-20", `0.${"0".repeat(19)}1`],
      ["-1.5e-18", `-0.${"0".repeat(17)}15`],
      ["-120", "-120"],
      ["5.00", "5"],
      ["0.00", "0"],
      ["-0.12", "-0.12"]
    ] as const) {
      assert.strictEqual(Amount.formatValue(value(text)), written)
    }
  })

  it.prop("is exactly what a number says in its shortest form", [Schema.Finite], ([number]) => {
    const amount = Amount.fromNumber("USD", number)
    if (number < 0) return assert.isTrue(Result.isFailure(amount))
    assert.strictEqual(Number(Amount.formatValue(Result.getOrThrow(amount).value)), Math.abs(number))
  })

  it("takes a tenth for a tenth, and the largest and smallest numbers", () => {
    const exact = (number: number) => Amount.format(Result.getOrThrow(Amount.fromNumber("USD", number)))
    assert.strictEqual(exact(0.1), "USD:0.1")
    assert.strictEqual(exact(0.1 + 0.2), "USD:0.30000000000000004")
    assert.strictEqual(exact(1e21), `USD:1${"0".repeat(21)}`)
    assert.strictEqual(exact(-0), "USD:0")
    assert.strictEqual(exact(5e-324).length, "USD:0.".length + 324)
    assert.strictEqual(exact(Number.MAX_VALUE).length, "USD:".length + 309)
  })

  it("refuses a number that is negative, or none, and what is no currency", () => {
    for (const number of [-1, -1e-300, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.isTrue(Result.isFailure(Amount.fromNumber("USD", number)), String(number))
    }
    for (const currency of ["", "5", "$", "tokens/s", "a b", "U".repeat(33)]) {
      assert.isTrue(Result.isFailure(Amount.fromNumber(currency, 1)), currency)
      assert.isFalse(Amount.isCurrency(currency), currency)
    }
  })

  it("travels as a number with at most nine digits after the point, and never as what JSON cannot say", () => {
    assert.strictEqual(Amount.toNumber(BigDecimal.sum(value("0.1"), value("0.2"))), 0.3)
    assert.strictEqual(Amount.toNumber(value("-0.12")), -0.12)
    assert.strictEqual(Amount.toNumber(value("1.0000000005")), 1.000000001)
    assert.strictEqual(Amount.toNumber(value("-1.0000000004")), -1)
    assert.strictEqual(Object.is(Amount.toNumber(value("-0.0000000001")), 0), true)
    assert.strictEqual(Amount.toNumber(value("1e400")), Number.MAX_VALUE)
    assert.strictEqual(Amount.toNumber(value("-1e400")), -Number.MAX_VALUE)
  })

  it("is kept as text, and comes back from it", () => {
    const decode = Schema.decodeUnknownOption(Amount.FromString)
    const encode = Schema.encodeOption(Amount.FromString)
    for (const text of ["USD:5", `USD:0.${"0".repeat(400)}1`, `USD:${"9".repeat(100)}`]) {
      assert.deepStrictEqual(Option.flatMap(decode(text), encode), Option.some(text))
    }
    for (const text of ["USD:-5", "USD", 5, `USD:${"9".repeat(513)}`]) assert.isTrue(Option.isNone(decode(text)))
    assert.isTrue(Option.isNone(encode({ currency: "USD", value: value("-5") })))
    assert.isTrue(Option.isNone(encode({ currency: "U:D", value: value("5") })))
  })
})
