import type { DataHealth } from '../../src/core/data-health.ts'

/** Numbers as large as they get, and a place of five texts. */
export const sampleHealth = (text = 'talks.jsonl:8: messages.0.content: nothing'): DataHealth => ({
  run: 'demo',
  state: 'complete',
  produced: {
    version: 1,
    inputs: 1_000_000,
    total: 1_000_000,
    whole: true,
    empty: 12,
    emptyCut: 3,
    emptyPlaces: ['talks.jsonl:8'],
    cutPlaces: ['talks.jsonl:9'],
    refused: 20,
    reasons: [{ why: `this is not a conversation: ${text}`, samples: 20, places: [text, text] }],
    notFinite: [{ state: `aux_hidden_state, layer 12 ${text}`, samples: 3, places: [text] }],
    duplicates: { samples: 9, places: [text] },
  },
  samples: 999_968,
  cut: 61,
  tokens: 123_456_789,
  trainedTokens: 45_678_901,
  bytes: 2 ** 40,
  lengths: Array.from({ length: 18 }, (_, power) => ({
    from: 2 ** power,
    to: 2 ** (power + 1),
    samples: 100_000 + power,
  })),
  trainedShares: Array.from({ length: 10 }, (_, at) => ({
    from: 10 * at,
    to: at === 9 ? 101 : 10 * at + 10,
    samples: at,
  })),
  vocabulary: {
    trained: 45_678_901,
    distinct: 151_000,
    coverage: [
      { tokens: 1024, share: 0.9 },
      { tokens: 32_000, share: 0.999_999 },
      { tokens: 151_936, share: 1 },
    ],
  },
  shown: {
    seed: 0,
    missing: `1 of 10 samples are not in the store: ${text}`,
    samples: [
      {
        sampleId: 'demo:one',
        from: text,
        tokens: 9,
        trained: 4,
        parts: [
          { text: `<|im_start|>user\n${text}`, trained: false },
          { text: `trained ${text}`, trained: true },
          { text: '', trained: false },
        ],
        more: 2,
      },
    ],
  },
})
