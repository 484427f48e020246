// Airflow keeps the theme that was picked in its menu here; without one the system's is used.
const follow = () => {
  const theme = localStorage.getItem("theme");
  const picked = theme === "dark" || theme === "light";
  document.documentElement.style.colorScheme = picked ? theme : "light dark";
};
follow();
addEventListener("storage", follow);
