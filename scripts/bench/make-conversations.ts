import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

const WORDS =
  'the of and to in is that for it as with was on be by are this from at or have an not which can but also more when their one other about time use how would like model data text answer question because list first make example number new value point part way need help water city light music book story plan code function string return python river history language science people work world year day good small large long write read learn find explain compare describe reason result cause effect method step simple common often important different several between during before after under over again never always'.split(
    ' ',
  )

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function sentence(next: () => number, words: number): string {
  const picked = Array.from({ length: words }, () => WORDS[Math.floor(next() * WORDS.length)] ?? '')
  return `${picked.join(' ')}.`
}

/** A conversation of one to three turns; `words` is how long an answer is on average. */
function conversation(next: () => number, words: number): unknown {
  const turns = 1 + Math.floor(next() * 3)
  const messages = Array.from({ length: turns }, () => [
    { role: 'user', content: sentence(next, 4 + Math.floor(next() * 20)) },
    { role: 'assistant', content: sentence(next, 1 + Math.floor(-Math.log(1 - next()) * words)) },
  ])
  return { messages: messages.flat() }
}

/** Writes `count` conversations, one a line; the same for the same seed. */
export async function makeConversations(file: string, count: number, words: number, seed = 1): Promise<void> {
  const next = random(seed)
  const out = createWriteStream(file)
  let block = ''
  for (let index = 0; index < count; index += 1) {
    block += `${JSON.stringify(conversation(next, words))}\n`
    if (block.length < 2 ** 20 && index < count - 1) continue
    if (!out.write(block)) await once(out, 'drain')
    block = ''
  }
  out.end()
  await finished(out)
}
