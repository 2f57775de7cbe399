// The running services that the tests use, and a scene whose objects they know.
import { fileURLToPath } from "node:url";
import { Kosmos2 } from "../../src/index.js";

export const client = new Kosmos2(process.env.KOSMOS2_URL);
/** A service with one slot, no queue and the API key `the-key`. */
export const smallUrl = process.env.KOSMOS2_SMALL_URL;
export const SCENE = fileURLToPath(new URL("../../../../app/demo/scenes/two_red_circles_and_blue_square.jpg", import.meta.url));
