/** Looks for secrets in text, in each of the forms in which an exporter, a URL or a log could come to hold them. */

/** The part of what base64 makes of it that does not depend on what stands around it, by how far it is from where a group of three begins. */
const base64Of = (bytes: Buffer, shift: number): string => {
  const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64")
  return text.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6))
}

const urlSafe = (text: string) => text.replaceAll("+", "-").replaceAll("/", "_")

const json = (text: string) => JSON.stringify(text).slice(1, -1)

/** However often a text was put in quotes, the backslashes are all that has become more. */
const unescaped = (text: string) => text.replaceAll("\\", "")

const ascii = (text: string) =>
  text.replace(/[\u0080-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

const forms: ReadonlyArray<readonly [form: string, of: (secret: string) => ReadonlyArray<string>]> = [
  ["plain", (secret) => [secret]],
  [
    "percent",
    (secret) => {
      const text = encodeURIComponent(secret)
      return [text, text.replace(/%../g, (byte) => byte.toLowerCase()), encodeURI(secret)]
    }
  ],
  [
    "base64",
    (secret) => [0, 1, 2].map((shift) => base64Of(Buffer.from(secret), shift)).flatMap((text) => [text, urlSafe(text)])
  ],
  ["hex", (secret) => [Buffer.from(secret).toString("hex")]]
]

/** The first form in which a text holds a secret. */
export const formIn = (text: string, secret: string): string | undefined => {
  const quoted = unescaped(text)
  return [json(secret), ascii(json(secret))].some((form) => quoted.includes(unescaped(form)))
    ? "json"
    : forms.find(([, of]) => of(secret).some((form) => text.includes(form)))?.[0]
}

export type Texts = Readonly<Record<string, ReadonlyArray<string>>>

/** `secret in sink`, for each secret that is in a sink in any form, sorted. */
export const found = (secrets: Texts, sinks: Texts): ReadonlyArray<string> =>
  Object.entries(secrets)
    .flatMap(([secret, values]) =>
      Object.entries(sinks).flatMap(([sink, texts]) =>
        texts.some((text) => values.some((value) => formIn(text, value) !== undefined)) ? [`${secret} in ${sink}`] : []
      )
    )
    .toSorted()
