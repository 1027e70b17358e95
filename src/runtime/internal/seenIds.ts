/**
 * Which frames came before: a peer whose transport repeats frames must not run a job twice. Of two generations the older is forgotten as a
 * whole.
 */

export interface SeenIds {
  older: Set<string>
  newer: Set<string>
}

export const make = (): SeenIds => ({ older: new Set(), newer: new Set() })

/** Notes an id, of which `most` are remembered; says whether it was noted before. */
export const isRepeated = (self: SeenIds, id: string, most: number): boolean => {
  if (self.newer.has(id) || self.older.has(id)) return true
  self.newer.add(id)
  if (self.newer.size >= most / 2) {
    self.older = self.newer
    self.newer = new Set()
  }
  return false
}
