"""The handlers of the web page, one module for each subject. They call operations and render templates."""
