/**
 * Times to come, the earliest first: a binary heap in which each entry knows its place, so that any can be moved or taken out in a number of
 * steps that grows with the logarithm of how many there are.
 */

export interface Entry {
  /** When it is due. Changed by {@link put} alone. */
  at: number
  /** Where it stands in the heap; less than 0 when it does not. */
  place: number
}

/** Earlier or equal to its children, which stand at twice its place and one or two more. */
export type AlarmHeap<A extends Entry> = Array<A>

/** An entry that is in no heap. */
export const outside = -1

export const first = <A extends Entry>(heap: AlarmHeap<A>): A | undefined => heap[0]

/** Puts an entry in at a time, or moves it there. */
export const put = <A extends Entry>(heap: AlarmHeap<A>, entry: A, at: number): void => {
  const isLater = entry.place >= 0 && at > entry.at
  entry.at = at
  if (isLater) return sink(heap, entry, entry.place)
  rise(heap, entry, entry.place < 0 ? heap.length : entry.place)
}

/** Takes an entry out, if it is in. */
export const remove = <A extends Entry>(heap: AlarmHeap<A>, entry: A): void => {
  const { place } = entry
  if (place < 0) return
  entry.place = outside
  const last = heap.pop()!
  if (last === entry) return
  const parent = heap[(place - 1) >> 1]
  if (parent !== undefined && last.at < parent.at) rise(heap, last, place)
  else sink(heap, last, place)
}

/** Lets an entry take a place, or the one of whoever stands above and is later. */
const rise = <A extends Entry>(heap: AlarmHeap<A>, entry: A, from: number): void => {
  let place = from
  while (place > 0) {
    const above = heap[(place - 1) >> 1]!
    if (above.at <= entry.at) break
    settle(heap, above, place)
    place = (place - 1) >> 1
  }
  settle(heap, entry, place)
}

/** Lets an entry take a place, or the one of whoever stands below and is earlier. */
const sink = <A extends Entry>(heap: AlarmHeap<A>, entry: A, from: number): void => {
  let place = from
  while (true) {
    const left = place * 2 + 1
    const right = heap[left + 1]
    const below = right !== undefined && right.at < heap[left]!.at ? right : heap[left]
    if (below === undefined || below.at >= entry.at) break
    const next = below.place
    settle(heap, below, place)
    place = next
  }
  settle(heap, entry, place)
}

const settle = <A extends Entry>(heap: AlarmHeap<A>, entry: A, place: number): void => {
  heap[place] = entry
  entry.place = place
}
