/**
 * A JSON object that names a member twice says two things, and different readers hear different ones (RFC 7519, section 4).
 */

/** Whether an object, given as JSON text that parses, has two members of one name. Objects inside it are not looked at. */
export const has = (json: string): boolean => {
  const names = new Set<string>()
  let depth = 0
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === "{" || char === "[") depth++
    else if (char === "}" || char === "]") depth--
    else if (char === '"') {
      const start = at
      at++
      while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1
      let after = at + 1
      while (/\s/.test(json[after] ?? "")) after++
      if (depth !== 1 || json[after] !== ":") continue
      const name: string = JSON.parse(json.slice(start, at + 1))
      if (names.has(name)) return true
      names.add(name)
    }
  }
  return false
}
