/** Where a Service says what its program should know; `console` is one. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string, error: unknown): void;
}
