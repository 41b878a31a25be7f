export { Latency as default } from "./figures.js";
