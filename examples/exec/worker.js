// A worker in Node for `chargehand run --serve` and `chargehand worker --serve`: greets whom a task names.
//
// It has as many tasks at once as it is given (--concurrency). Standard output is for answers alone; what else it
// says goes to standard error, and chargehand shows it.
const lines = require("node:readline").createInterface({ input: process.stdin });

async function greet(name) {
  if (!name) throw new Error("nobody is named");
  return `hello, ${name}`;
}

lines.on("line", async (line) => {
  const { id, task, cancel } = JSON.parse(line);
  // Nobody waits for a task any more: it is short, so it ends as it would have.
  if (cancel) return;
  const answer = await greet(task).then(
    (result) => ({ id, result }),
    (error) => ({ id, error: error.message }),
  );
  process.stdout.write(JSON.stringify(answer) + "\n");
});
