"""The pages, a module for each subject: handlers that call operations and render templates."""
