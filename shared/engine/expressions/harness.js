// Evaluates one request inside a fresh context: "setup" with the scope, then any number of "evaluate".
// It keeps every built-in it needs from before the author's code runs, and builds its answers from primitive
// strings only, so that no redefined prototype, getter or toJSON can change anything but the author's own values.
(function () {
  "use strict";
  const { parse, stringify, rawJSON } = JSON;
  const { apply } = Reflect;
  const { defineProperty, setPrototypeOf, create, keys, hasOwn } = Object;
  const { isArray } = Array;
  const { isInteger } = Number;
  const { then } = Promise.prototype;
  const { slice } = String.prototype;
  const { join } = Array.prototype;
  const bigToString = BigInt.prototype.toString;
  const symbolToString = Symbol.prototype.toString;
  const FunctionOf = Function, PromiseOf = Promise, ProxyOf = Proxy, ErrorOf = Error;
  const world = globalThis;
  const LONGEST_MESSAGE = 10000, MOST_ROWS = 1000;

  let shared, sharedText, sharedNamed = false, sharedReached = false;
  let back = [], longest = 0, rows = "", rowCount = 0, settled = null;

  function define(target, name, value) {
    defineProperty(target, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
  }

  function isRecord(value) {
    return typeof value === "object" && value !== null && !isArray(value);
  }

  // What stands behind the own properties of `input`: invisible to enumeration, live on the shared scope.
  function behindInput(scope) {
    const hasPrevious = hasOwn(scope, "previous");
    const handler = {
      __proto__: null,
      get(target, key) {
        if (key === "input" && hasPrevious) return scope.previous;
        if (!hasOwn(shared, key)) return target[key];
        sharedReached = true;
        return shared[key];
      },
      has(target, key) {
        return (key === "input" && hasPrevious) || hasOwn(shared, key) || key in target;
      },
    };
    return new ProxyOf({}, handler);
  }

  function setup(text) {
    const scope = setPrototypeOf(parse(text), null);
    longest = scope.output;
    back = scope.back;
    sharedText = scope.sharedText;
    sharedNamed = scope.sharedNamed;
    shared = parse(sharedText);
    if (isRecord(scope.input)) setPrototypeOf(scope.input, behindInput(scope));
    for (const name of ["item", "index", "error", "context"]) define(world, name, undefined);
    for (const name of ["input", "result", "output"]) define(world, name, scope.input);
    define(world, "shared", shared);
    for (const name of keys(scope.names)) define(world, name, scope.names[name]);
  }

  function shorten(text) {
    return text.length > LONGEST_MESSAGE ? apply(slice, text, [0, LONGEST_MESSAGE]) + "…" : text;
  }

  function shown(value) {
    if (typeof value === "string") return value;
    if (typeof value === "symbol") return apply(symbolToString, value, []);
    try {
      if (value instanceof ErrorOf) return "" + value;
      if (typeof value === "object" && value !== null) return "" + stringify(value);
    } catch {
      return "[object]";
    }
    return typeof value === "function" ? "[function]" : "" + value;
  }

  function log(level, values) {
    rowCount += 1;
    if (rowCount > MOST_ROWS) return;
    let text = "";
    for (let index = 0; index < values.length; index += 1) text += (index ? " " : "") + shorten(shown(values[index]));
    if (rowCount === MOST_ROWS) [level, text] = ["warn", "further console output is dropped"];
    rows += (rows ? "," : "") + "[" + stringify(level) + "," + stringify(shorten(text)) + "]";
  }

  function failure(error, stage) {
    let name = "", message = "", stack = "";
    try {
      if ((typeof error === "object" && error !== null) || typeof error === "function") {
        if (typeof error.name === "string") name = error.name;
        if (typeof error.stack === "string") stack = error.stack;
        message = error.message === undefined ? shown(error) : shown(error.message) || name;
      } else {
        // The engine throws null when there is no memory left to make an error of.
        message = error === null ? "the script threw null, or used up its memory" : shown(error);
      }
    } catch {
      message = "the script threw something that cannot be shown";
    }
    const failed = "{\"failed\":" + stringify(stage) + ",\"name\":" + stringify(shorten(name));
    return failed + ",\"message\":" + stringify(shorten(message)) + ",\"stack\":" + stringify(shorten(stack)) + takeLogs() + "}";
  }

  function takeLogs() {
    const taken = ",\"logs\":[" + rows + "]";
    rows = "";
    return taken;
  }

  function asText(value) {
    if (value === undefined || value === null) return "\"\"";
    // Whole numbers go back as such, so that those beyond 2 ** 53 get their last digits; others are text as JavaScript has it.
    if (isInteger(value)) return stringify(value);
    if (typeof value === "bigint") return apply(bigToString, value, []);
    if (typeof value === "symbol") return stringify(apply(symbolToString, value, []));
    if (typeof value !== "object" && typeof value !== "function") return stringify("" + value);
    const text = stringify(value);
    if (text === undefined) return "\"\"";
    return text[0] === "\"" ? text : stringify(text);
  }

  function answer(value, mode) {
    let text, sharedNow = "null", extra = "";
    try {
      text = mode === "text" ? asText(value) : stringify(value);
      if (text === undefined) text = "null";
      if (text.length > longest) return failure("", "too large");
      for (let index = 0; index < back.length; index += 1) {
        const left = stringify(world[back[index]]);
        extra += (extra ? "," : "") + stringify(back[index]) + ":" + (left === undefined ? "null" : left);
      }
      if (extra.length > longest) return failure("", "too large");
      if (sharedNamed && isRecord(world.shared)) shared = world.shared;
      if (sharedNamed || sharedReached) sharedNow = stringify(shared);
      if (sharedNow === undefined || sharedNow === sharedText) sharedNow = "null";
    } catch (error) {
      return failure(error, "value");
    }
    return "{\"value\":" + text + ",\"shared\":" + sharedNow + ",\"extra\":{" + extra + "}" + takeLogs() + "}";
  }

  // "" means that a promise has to settle first; the caller runs the pending jobs and asks conclude().
  function evaluate(mode, source) {
    let run, value;
    try {
      run = mode === "body" ? FunctionOf(source) : FunctionOf("return (" + source + "\n)");
    } catch (error) {
      return failure(error, "syntax");
    }
    try {
      value = apply(run, undefined, []);
      if (!(value instanceof PromiseOf)) return answer(value, mode);
      const state = { __proto__: null, mode, done: "", value: undefined };
      const settle = (done) => (value) => { state.done = done; state.value = value; };
      apply(then, value, [settle("fulfilled"), settle("rejected")]);
      settled = state;
      return "";
    } catch (error) {
      return failure(error, "run");
    }
  }

  function conclude() {
    const { mode, done, value } = settled;
    if (done === "fulfilled") return answer(value, mode);
    return failure(done ? value : "the promise it returned never settles", "run");
  }

  const levels = { log: "info", info: "info", dir: "info", table: "info", debug: "debug", trace: "debug", warn: "warn", error: "error" };
  const console = {};
  for (const name of keys(levels)) define(console, name, (...values) => log(levels[name], values));
  define(world, "console", console);
  define(BigInt.prototype, "toJSON", function () { return rawJSON(apply(bigToString, this, [])); });
  // A hook that is handed the functions of the call stack, and two means to block without using the processor.
  defineProperty(Error, "prepareStackTrace", { __proto__: null, value: undefined, writable: false, configurable: false });
  delete world.Atomics;
  delete world.SharedArrayBuffer;

  const commands = { __proto__: null, setup, evaluate, conclude, logs: () => "{\"stopped\":true" + takeLogs() + "}" };
  // Long concatenations are trees inside the engine, which the process around it cannot read; joining makes them flat.
  return (command, first, second) => apply(join, ["" + commands[command](first, second)], [""]);
})()
