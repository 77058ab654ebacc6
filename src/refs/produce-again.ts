/** The fix for a damaged manifest. */
export const PRODUCE_AGAIN = 'remove the manifest folder and run the producer again; features in the store stay'
