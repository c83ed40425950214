// The users' guide's own examples, as their pages run them. Only `fetch` knows the server:
// in a page an address without a host is the page's own.
const base = process.argv[2];
const realFetch = globalThis.fetch;
globalThis.fetch = (address, options) => realFetch(new URL(address, base), options);

const response = await fetch('/api/generate-base-image', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    actorName: '0100_european_25_male',
    description: 'european 25 year old male with short brown hair and blue eyes',
    width: 1024,
    height: 1536,
    steps: 25,
    seed: -1
  })
});

const result = await response.json();

// React component example
async function generateActorBaseImage(actorName, description) {
  try {
    const response = await fetch('/api/generate-base-image', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        actorName,
        description,
        width: 1024,
        height: 1536,
        steps: 25
      })
    });

    const result = await response.json();

    if (result.status === 'COMPLETED') {
      console.log('Base image saved to:', result.localPath);
      console.log('Seed used:', result.seed);
      return result;
    } else {
      console.error('Generation failed:', result.error);
      throw new Error(result.error);
    }
  } catch (error) {
    console.error('API error:', error);
    throw error;
  }
}

const component = await generateActorBaseImage(
  '0101_asian_21_female', 'asian 21 year old female with long black hair');
let refused = '';
try {
  await generateActorBaseImage('', '');
} catch (error) {
  refused = error.message;
}
console.log(JSON.stringify({ status: response.status, result, component, refused }));
