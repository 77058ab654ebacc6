import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { parsed } from './job-message.ts'
import type { LineSocket } from './line-socket.ts'

const ANSWER_MS = 3000
const Hex = z.string().regex(/^[0-9a-f]{64}$/)
const Challenge = z.looseObject({ draftbridge: z.literal('job'), nonce: Hex })
const Answer = z.looseObject({ node: z.number().int().nonnegative(), nonce: Hex, proof: Hex })
const Proof = z.looseObject({ proof: Hex })

/**
 * Both sides prove that they have read the note of the job, without sending its token: whatever else listens at an address
 * of the note, or connects to the port, is none of the job.
 *
 * head: nonce   member: its node, its own nonce, proof of the head's nonce   head: proof of the member's nonce.
 */
export async function greetMember(line: LineSocket, token: string): Promise<number | null> {
  const nonce = randomBytes(32).toString('hex')
  line.send(JSON.stringify({ draftbridge: 'job', nonce }))
  const answer = parsed(Answer, await line.next(ANSWER_MS))
  if (answer === null || !isEqual(answer.proof, proofOf(token, `member ${answer.node}`, nonce))) return null
  line.send(JSON.stringify({ proof: proofOf(token, 'head', answer.nonce) }))
  return answer.node
}

/** The member's side. False when the other side is not the head of this job. */
export async function greetHead(line: LineSocket, token: string, node: number): Promise<boolean> {
  const challenge = parsed(Challenge, await line.next(ANSWER_MS))
  if (challenge === null) return false
  const nonce = randomBytes(32).toString('hex')
  line.send(JSON.stringify({ node, nonce, proof: proofOf(token, `member ${node}`, challenge.nonce) }))
  const proof = parsed(Proof, await line.next(ANSWER_MS))?.proof
  return proof !== undefined && isEqual(proof, proofOf(token, 'head', nonce))
}

const proofOf = (token: string, who: string, nonce: string): string =>
  createHmac('sha256', Buffer.from(token, 'hex')).update(`${who} ${nonce}`).digest('hex')

const isEqual = (a: string, b: string): boolean => timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
